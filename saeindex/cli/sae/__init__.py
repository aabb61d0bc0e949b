"""``saeindex sae …``: fit, label, measure, import and export feature spaces."""

from __future__ import annotations

import typer

from saeindex.cli.sae import fit, label, spaces, transfer

app = typer.Typer(help="Fit, label, measure, import and export feature spaces.", no_args_is_help=True)
app.command("fit")(fit.fit)
app.command("label")(label.label)
app.command("eval")(spaces.eval_)
app.command("families")(spaces.families)
app.command("import")(transfer.import_)
app.command("export")(transfer.export)
