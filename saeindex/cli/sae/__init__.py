"""``saeindex sae …``: fit, label, measure, import and export feature spaces."""

from __future__ import annotations

import typer

from saeindex.cli.sae import eval, families, fit, label, transfer

app = typer.Typer(help="Fit, label, measure, import and export feature spaces.", no_args_is_help=True)
app.command("fit")(fit.fit)
app.command("label")(label.label)
app.command("eval")(eval.eval_)
app.command("families")(families.families)
app.command("import")(transfer.import_)
app.command("export")(transfer.export)
app.command("map")(transfer.map_)
