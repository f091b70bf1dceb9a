"""The LaTeX of every shipped spec goes through an engine: `apt install texlive-latex-recommended`.

It takes amsmath and amssymb, which are in texlive-latex-base and texlive-fonts-recommended's
dependencies; the document also loads lmodern.
"""

import re
import shutil
import subprocess

import pytest
from boxes import OPTIMIZERS, box_from, box_of

from optc.compiler.notation.latex import latex

ENGINE = shutil.which("pdflatex")
PREAMBLE, END = r"\begin{document}", r"\end{document}"

ODD = '''
"""
\\input{x} $ % & # _ { } ~ ^ -- < > | " ' ` \\\\ é ≤ 漢 \\end{document}
"""
optimizer odd(lr = 0.1, kind: str = "$%&#_{}~^\\\\") {
  precondition own(kind) where path matches "[a-z_$&%#~^]*|a{1}"
  tune step lr
}
rule precondition own(kind: str) {
  if kind == "<&>_$%" { return 2 * g } else { return g }
}
'''


@pytest.mark.skipif(ENGINE is None, reason="no LaTeX engine: apt install texlive-latex-recommended")
def test_the_latex_of_every_shipped_spec_compiles(tmp_path):
    boxes = [*map(box_of, OPTIMIZERS), box_from(ODD)]
    whole = latex(boxes[0], standalone=True)
    assert whole.count(PREAMBLE) == whole.count(END) == 1
    pages = "\n\\clearpage\n".join(map(latex, boxes))
    head = whole.partition(PREAMBLE)[0]
    (tmp_path / "all.tex").write_text(f"{head}{PREAMBLE}\n{pages}\n{END}\n")
    done = subprocess.run(
        [str(ENGINE), "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    (pages_made,) = re.findall(r"Output written on all.pdf \((\d+) pages", done.stdout)
    assert int(pages_made) >= len(boxes)
    assert "Overfull" not in done.stdout
