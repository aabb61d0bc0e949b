"""``saeindex sae …``: fitting feature spaces and moving them about."""

from __future__ import annotations

import typer

from saeindex.cli.sae import calibrate as sae_calibrate
from saeindex.cli.sae import eval as sae_eval
from saeindex.cli.sae import families as sae_families
from saeindex.cli.sae import fit as sae_fit
from saeindex.cli.sae import label as sae_label
from saeindex.cli.sae import transfer as sae_transfer

app = typer.Typer(help="Fit feature spaces, look at them, and move them about.", no_args_is_help=True)
app.command("fit")(sae_fit.fit)
app.command("label")(sae_label.label)
app.command("eval")(sae_eval.eval_)
app.command("calibrate")(sae_calibrate.calibrate)
app.command("families")(sae_families.families)
app.command("import")(sae_transfer.import_)
app.command("export")(sae_transfer.export)
app.command("map")(sae_transfer.map_)
