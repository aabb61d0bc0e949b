"""What requests take: the options of the Python methods, from the same tables, as pydantic models."""

from __future__ import annotations

import types as builtin_types
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from saeindex import types
from saeindex.analysis.correlate.options import CorrelateOptions, TriggerOptions
from saeindex.analysis.diff.options import DiffOptions
from saeindex.analysis.drift.options import DriftOptions
from saeindex.analysis.monitor.options import MonitorOptions
from saeindex.analysis.stats import choices
from saeindex.collection.stored import RecordPart
from saeindex.concepts.feedback import Feedback
from saeindex.config import FACETS, MAX_LIMIT
from saeindex.search.query import Query
from saeindex.types import LevelName

B = TypeVar("B", bound="Body")
JsonDict: TypeAlias = dict[str, Any]
# A group of records: a where text, a Qdrant filter, or a list of ids.
Selection: TypeAlias = str | JsonDict | list[str]
Limit: TypeAlias = Annotated[int, Field(ge=1, le=MAX_LIMIT)]
TextField: TypeAlias = Annotated[str, Field(description="a further text field, in place of the text")]
# The types that the tables name, as they come in JSON.
NAMES = {
    **{name: value for name, value in vars(types).items() if name[:1].isupper()},
    **{name: value for name, value in vars(choices).items() if name[:1].isupper()},
    "Filter": JsonDict, "Expression": JsonDict, "JsonObject": JsonDict, "Feedback": Feedback,
    "Sequence": Sequence,
}  # fmt: skip


class Body(BaseModel):
    """The body of a request: what is declared, and nothing else."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    def options(self) -> dict[str, Any]:
        """Return what was given, by the names of the Python method."""
        return {name: _plain(getattr(self, name)) for name in self.model_fields_set}


def _plain(value: Any) -> Any:
    if isinstance(value, Body):
        return value.options()
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value


def of_options(kind: type, without: Sequence[str] = ()) -> Callable[[type[B]], type[B]]:
    """Give a model the fields of a dataclass of options, but those that it has itself."""
    hints = get_type_hints(kind, localns=NAMES)

    def filled(model: type[B]) -> type[B]:
        listed: dict[str, Any] = {}
        for one in fields(kind):
            if one.name not in without and one.name not in model.model_fields:
                default = one.default
                default = list(default) if isinstance(default, tuple) else default
                listed[one.name] = (_json_type(hints[one.name]), default)
        made: type[B] = create_model(model.__name__, __base__=model, __doc__=model.__doc__, **listed)
        return made

    return filled


class SteerBody(Body):
    """A signed change of a concept's strength in the query; see `saeindex.types.Steer`."""

    target: str
    strength: float = 1.0
    against: list[str] = []
    like: list[str] = []
    unlike: list[str] = []
    edits: dict[int, float] = {}


def _json_type(hint: Any) -> Any:
    """Return a type as it comes in JSON: a sequence is a list, a dataclass an object of its fields."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, builtin_types.UnionType):
        kinds = list(dict.fromkeys(_json_type(part) for part in parts))
        return Union[tuple(kinds)]  # noqa: UP007  (made of a list)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Sequence):
        return list[_json_type(parts[0])]  # type: ignore[misc]
    if isinstance(hint, type) and is_dataclass(hint):
        return SteerBody
    return hint


Named: TypeAlias = Annotated[
    list[str], Field(description="properties, such as 'sad=feeling sad; against: being happy'")
]
Ids: TypeAlias = Annotated[list[str], Field(max_length=MAX_LIMIT)]


@of_options(Query)
class SearchBody(Body):
    """A query; see `FeatureIndex.search`."""


@of_options(Query)
class FacetsBody(Body):
    """A query whose results are described."""

    limit: Annotated[int, Field(ge=1, le=1_000)] = FACETS


@of_options(Query)
class CompareBody(Body):
    """A query, and two records to compare."""

    a: str = Field(description="a record's id")
    b: str = Field(description="another record's id")


@of_options(DiffOptions)
class DiffBody(Body):
    """Groups to compare; see `FeatureIndex.diff`."""

    a: Selection | None = None
    b: Selection | None = None
    groups: dict[str, Selection] | None = None
    by: str | None = Field(None, description="a field: one group for each of its values")
    other: str | None = Field(None, description="another index, to compare the whole index with")
    named: Named = []
    field: TextField = ""


@of_options(CorrelateOptions)
class CorrelateBody(Body):
    """Concepts to correlate; see `FeatureIndex.correlate`."""

    concepts: Named = []
    with_concepts: Named = []
    field: TextField = ""
    other_field: str | None = None
    where: Selection | None = None


@of_options(TriggerOptions)
class TriggersBody(Body):
    """A behaviour of responses; see `FeatureIndex.find_triggers`."""

    behaviour: str | int = Field(description="a feature's id, or a property as text")
    prompt_field: str = "prompt"
    field: TextField = ""
    where: Selection | None = None


@of_options(DriftOptions)
class DriftBody(Body):
    """A field with an order; see `FeatureIndex.drift`."""

    over: str = Field(examples=["metadata.year"])
    where: Selection | None = None
    field: TextField = ""
    order: list[str | int | float] | None = None


@of_options(MonitorOptions)
class MonitorBody(Body):
    """A window to compare; see `FeatureIndex.monitor`."""

    reference: Selection = Field(description="a condition, ids, or what …/baseline found")
    window: Selection = Field(description="a condition or ids")
    field: TextField = ""


@of_options(DiffOptions)
class ProfileBody(Body):
    """A set to describe; see `FeatureIndex.profile`."""

    where: Selection | None = None
    ids: Ids | None = None
    field: TextField = ""
    shown: Annotated[int, Field(ge=0, le=1_000)] = 5
    families: list[choices.Family] = ["concepts", "words"]


class ClusterBody(Body):
    """An axis to cluster along; see `FeatureIndex.cluster`."""

    axis: str | JsonDict = Field(examples=["tone: angry, calm, joking"])
    examples: dict[str, list[str]] | None = None
    where: Selection | None = None
    field: TextField = ""
    method: Literal["anchored", "interpembed"] = "anchored"
    shown: Annotated[int, Field(ge=0, le=1_000)] = 5
    assignments: bool = Field(False, description="add the cluster of every record")


class BaselineBody(Body):
    """A reference to count; see `FeatureIndex.baseline`."""

    where: Selection | None = None
    field: TextField = ""
    level: LevelName = "typical"
    unit: str | None = "auto"


class RecordBody(Body):
    """A record to index."""

    id: str | int | None = Field(None, description="an id; without one, it is made from the text")
    text: str
    metadata: JsonDict = {}
    fields: dict[str, str] = {}
    document: str | None = Field(None, description="the longer text that it is a piece of")


class RecordsBody(Body):
    """Records to index."""

    records: list[RecordBody] = Field(min_length=1, max_length=100_000)


class SelectedBody(Body):
    """Records by id, by document, or by condition."""

    ids: list[str] | None = Field(None, max_length=MAX_LIMIT)
    documents: list[str] | None = Field(None, max_length=MAX_LIMIT)
    where: str | None = None
    query_filter: JsonDict | None = None


class GetBody(Body):
    """Records to get: by id, or all of documents."""

    ids: list[str] | None = Field(None, max_length=MAX_LIMIT)
    documents: list[str] | None = Field(None, max_length=MAX_LIMIT)
    include: list[RecordPart] = ["concepts"]


class ExportBody(Body):
    """Records to export as NDJSON: those that match, or all."""

    where: str | None = None
    query_filter: JsonDict | None = None
    include: list[RecordPart] = []


class CountBody(Body):
    """Records to count."""

    where: str | None = None
    query_filter: JsonDict | None = None


class ManyBody(Body):
    """Several queries; each is answered as on its own."""

    queries: list[SearchBody] = Field(min_length=1, max_length=1_000)


class FeedbackBody(Body):
    """A property search's feedback, and judgements of its concepts and words."""

    feedback: Feedback
    accept: list[int] = []
    reject: list[int] = []
    reject_words: list[str] = []
    concept_weights: dict[int, float] = {}
    word_weights: dict[str, float] = {}


class LabelBody(Body):
    """A name of your own for a feature in this index, or whether it is hidden."""

    name: str | None = Field(None, max_length=200, description="an empty name takes yours back")
    hidden: bool | None = None


class NamesBody(Body):
    """Names and hidden features, as `GET …/names` returned them."""

    names: JsonDict


class FitBody(Body):
    """Judgements to fit a profile on."""

    name: str
    like: list[str] = []
    unlike: list[str] = []
    description: str | None = None


class EditBody(Body):
    """Weights of concepts in a profile; 0 removes a concept."""

    edits: dict[int, float]


class EmbeddingsBody(BaseModel):
    """A request in OpenAI's form; fields that other services know are ignored."""

    model_config = ConfigDict(extra="ignore")

    input: str | list[str] = Field(description="a text, or up to 2,048 of them")
    model: str = Field(description="the index whose encoder is used", examples=["papers"])
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None


# What a request may look like, by model.
MUSIC = 'metadata.topic = "music"'
EXAMPLES: dict[str, JsonDict] = {
    "SearchBody": {"text": "galaxies", "where": 'NOT "simulation"', "steer": "+theory:0.4", "limit": 5},
    "ManyBody": {"queries": [{"text": "galaxies"}, {"text": "rain", "limit": 3}]},
    "FacetsBody": {"text": "galaxies", "limit": 10},
    "CompareBody": {"text": "galaxies", "a": "doc-1", "b": "doc-2"},
    "FeedbackBody": {"feedback": {"description": "sounds sad"}, "accept": [7], "reject": []},
    "EmbeddingsBody": {"input": ["a text", "another"], "model": "papers"},
    "RecordsBody": {"records": [{"id": "a1", "text": "Galaxies rotate.", "metadata": {"year": 2021}}]},
    "GetBody": {"ids": ["doc-1", "doc-2"]},
    "CountBody": {"where": MUSIC},
    "SelectedBody": {"ids": ["doc-1"]},
    "ExportBody": {"where": MUSIC, "include": ["concepts"]},
    "LabelBody": {"name": "stringed instruments"},
    "NamesBody": {"names": {"features_of": "…", "names": {"7": "my name"}, "hidden": []}},
    "FitBody": {"name": "mine", "like": ["doc-1", "doc-2"], "unlike": ["doc-3"]},
    "EditBody": {"edits": {"7": 0.2}},
    "DiffBody": {"a": "metadata.year < 2010", "b": "metadata.year >= 2010"},
    "CorrelateBody": {"min_support": 5, "limit": 20},
    "TriggersBody": {"behaviour": "refuses=declines to answer; against: answers"},
    "ClusterBody": {"axis": "tone: angry, calm, joking"},
    "DriftBody": {"over": "metadata.year"},
    "MonitorBody": {"reference": "metadata.year < 2015", "window": "metadata.year >= 2015"},
    "BaselineBody": {"where": "metadata.year < 2015"},
    "ProfileBody": {"where": MUSIC},
}
