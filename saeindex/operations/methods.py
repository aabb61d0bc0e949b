"""The methods of every surface: each line is one operation, under the name that it has everywhere."""

from __future__ import annotations

from typing import Any

from saeindex.operations.associations import ClusterAlong, Companions, Correlate, FindTriggers
from saeindex.operations.concepts import (
    Card,
    Define,
    DeleteProfile,
    EditProfile,
    Find,
    FitProfile,
    GetProfile,
    Hide,
    History,
    Learn,
    Names,
    ProfileNames,
    Rename,
    ResolveConcept,
    SaveProfile,
    TakeNames,
)
from saeindex.operations.differences import CountBaseline, Describe, DiffGroups, DriftOver, Monitor
from saeindex.operations.operation import Method, QueryMethod
from saeindex.operations.records import Count, Delete, Get, MetadataFields, Scroll
from saeindex.operations.search import Compare, Exclusions, Facets, FindContext, PlanQuery, Search, SearchMany


class IndexMethods:
    """Methods of an index."""

    search = QueryMethod(Search)
    search_many = Method(SearchMany)
    plan = QueryMethod(PlanQuery)
    context = QueryMethod(FindContext)
    compare = QueryMethod(Compare)
    get = Method(Get)
    scroll = Method(Scroll)
    count = Method(Count)
    delete = Method(Delete)
    metadata_fields = Method(MetadataFields)
    diff = Method(DiffGroups)
    describe = Method(Describe)
    correlate = Method(Correlate)
    triggers = Method(FindTriggers)
    cluster = Method(ClusterAlong)
    drift = Method(DriftOver)
    monitor = Method(Monitor)
    baseline = Method(CountBaseline)


class ConceptMethods:
    """Methods of ``index.concepts``."""

    find = Method(Find)
    resolve = Method(ResolveConcept)
    card = Method(Card)
    facets = QueryMethod(Facets)
    exclusions = QueryMethod(Exclusions)
    companions = Method(Companions)
    define = Method(Define)
    rename = Method(Rename)
    hide = Method(Hide)
    history = Method(History)
    names = Method(Names)
    take_names = Method(TakeNames)
    learn = Method(Learn)


class ProfileMethods:
    """Methods of ``index.profiles``."""

    fit = Method(FitProfile)
    names = Method(ProfileNames)
    get = Method(GetProfile)
    save = Method(SaveProfile)
    edit = Method(EditProfile)
    delete = Method(DeleteProfile)


METHODS = (IndexMethods, ConceptMethods, ProfileMethods)
# Every operation by its name.
OPERATIONS: dict[str, Any] = {
    one.request.name: one.request  # type: ignore[attr-defined]
    for methods in METHODS
    for one in vars(methods).values()
    if isinstance(one, Method)
}
