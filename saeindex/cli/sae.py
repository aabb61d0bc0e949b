"""``saeindex sae …``: fitting feature spaces and moving them about."""

from __future__ import annotations

import typer

from saeindex.cli import sae_calibrate, sae_eval, sae_families, sae_fit, sae_label, sae_transfer

app = typer.Typer(help="Fit feature spaces, look at them, and move them about.", no_args_is_help=True)
app.command("fit")(sae_fit.fit)
app.command("label")(sae_label.label)
app.command("eval")(sae_eval.eval_)
app.command("calibrate")(sae_calibrate.calibrate)
app.command("families")(sae_families.families)
app.command("import")(sae_transfer.import_)
app.command("export")(sae_transfer.export)
app.command("map")(sae_transfer.map_)
