"""Makes `pictures/explain.png` of the README: the LaTeX of a box, as an engine sets it.

    python docs/pictures.py

It needs `pdflatex` and `pdftoppm`, of Debian's texlive-latex-recommended and poppler-utils.
"""

import subprocess
import tempfile
from pathlib import Path

from optc.compiler.graphs import lowered_graph, simplified
from optc.compiler.locate import find
from optc.compiler.notation.build import build
from optc.compiler.notation.latex import latex

HERE = Path(__file__).parent
NAME = "fsam"
DOTS_PER_INCH = 190

DOCUMENT = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{lmodern}
\usepackage{amsmath, amssymb}
\hsize=160mm \textwidth=\hsize \linewidth=\hsize
\begin{document}
\setbox0\vbox{%%
%s}
\pdfhorigin=6mm \pdfvorigin=\dimexpr6mm-6pt\relax
\pdfpagewidth=\dimexpr\wd0+12mm\relax
\pdfpageheight=\dimexpr\ht0+\dp0+12mm-12pt\relax
\shipout\box0
\end{document}
"""
"""A page that is as large as what is on it."""


def main() -> None:
    """Write the picture."""
    graph, _ = lowered_graph(find(NAME))
    text = DOCUMENT % latex(build(simplified(graph)))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "box.tex").write_text(text, encoding="utf-8")
        for command in (
            ["pdflatex", "-interaction=batchmode", "-halt-on-error", "box.tex"],
            [
                "pdftoppm",
                "-r",
                str(DOTS_PER_INCH),
                "-gray",
                "-png",
                "-singlefile",
                "box.pdf",
                "explain",
            ],
        ):
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (HERE / "pictures" / "explain.png").write_bytes(Path(folder, "explain.png").read_bytes())


if __name__ == "__main__":
    main()
