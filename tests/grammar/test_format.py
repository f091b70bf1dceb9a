"""`format` undoes `parse`, keeps comments, and is its own fixed point."""

import re
from inspect import cleandoc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import files, law

from optc.grammar.diagnostic import Diagnostics
from optc.grammar.format import format
from optc.grammar.parse import parse
from optc.grammar.render import render_text
from optc.grammar.source import Source

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.opt"))


def read(text):
    report = Diagnostics()
    file = parse(Source("<string>", text), report)
    assert not len(report), render_text(report)
    return file


def formatted(text):
    return format(read(text))


@law
@given(files())
def test_parse_of_format_is_the_tree(file):
    text = format(file)
    report = Diagnostics()
    again = parse(Source("<string>", text), report)
    assert not len(report), f"{render_text(report)}\n{text}"
    assert again == file
    assert format(again) == text


# A token of the grammar, well enough to put something between two of them.
TOKEN = re.compile(
    r'"""[\s\S]*?"""|"(?:[^"\\\n]|\\.)*"|[0-9][0-9_.]*(?:[eE][-+]?[0-9]+)?|\w+|<-|=>|[<>=!]=|\.\.|\S'
)
GAPS = (
    " ",
    "\n",
    "\n\n",
    "\n\n\n",
    "  # said\n",
    "\n# said\n",
    "\n\n  #! said\n\n# again\n\n",
    "\r\n",
)


@law
@given(files(), st.randoms(use_true_random=False))
def test_white_space_and_comments_change_no_tree_and_no_comment_is_lost(file, random):
    tokens = TOKEN.findall(format(file))
    text = "".join(token + random.choice(GAPS) for token in tokens)
    loose = read(text)
    assert loose == file
    once = format(loose)
    again = read(once)
    assert again == file
    assert [c.text for c in again.comments] == [c.text for c in loose.comments]
    assert format(again) == once


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_the_same_tree_when_formatted(path):
    text = path.read_text(encoding="utf-8")
    assert read(formatted(text)) == read(text)
    assert formatted(formatted(text)) == formatted(text)


def check(loose, canonical):
    """A text is brought into a form, which is its own."""
    canonical = cleandoc(canonical) + "\n"
    assert formatted(cleandoc(loose)) == canonical
    assert formatted(canonical) == canonical


def test_stages_of_a_block_stand_in_two_columns():
    check(
        """
        optimizer a() { perturb sam() precondition adam()
        tune step 0.1 observe norm(g) as n every 5 assert(state_bytes<2*weight_bytes)
        group qkv where ndim==2 view "d (h k)->h d k" with(h=heads,) {tune step 3}
        group rest view "a b -> b a" { decay weights(0.1) where ndim>=2 tune step 3 } }
        """,
        """
        optimizer a() {
          perturb      sam()
          precondition adam()
          tune step    0.1
          observe norm(g) as n every 5
          assert state_bytes < 2 * weight_bytes
          group qkv where ndim == 2 view "d (h k)->h d k" with (h = heads) {
            tune step 3
          }
          group rest view "a b -> b a" {
            decay     weights(0.1) where ndim >= 2
            tune step 3
          }
        }
        """,
    )


def test_brackets_stay_only_where_they_change_the_meaning():
    check(
        "func f(a, b) { return ((a*b))+(a-(b-a))-((-a)^2)-(-(a^2))+(a@b)@(b@a)+(2^(-1))^(3^4) }",
        """
        func f(a, b) {
          return a * b + (a - (b - a)) - (-a)^2 - -a^2 + a @ b @ (b @ a) + (2^-1)^3^4
        }
        """,
    )


def test_comments_stay_where_they_are():
    check(
        """
        # about the file
        edition 1   # the first

        # about the rule


        rule clip unit( # a list
          # one
          limit=1, #the first
          other=2 # the last
        ) { # the body

          # about x
          x=max(g, # inside
            1)


          # about the end
          return x # done

          # nothing more
        } # closed
        # the end
        """,
        """
        # about the file
        edition 1  # the first

        # about the rule

        rule clip unit(  # a list
          # one
          limit = 1,  # the first
          other = 2,  # the last
        ) {  # the body
          # about x
          x = max(
            g,  # inside
            1,
          )

          # about the end
          return x  # done

          # nothing more
        }  # closed
        # the end
        """,
    )


def test_a_long_line_is_broken_at_its_longest_call():
    name = "a_name_that_is_long_enough_to_fill_a_line"
    check(
        f"func f(x) {{ return 2 * where(x > 0, max({name}, {name}, {name}), min(1, x)) + 1 }}",
        f"""
        func f(x) {{
          return 2 * where(
            x > 0,
            max(
              {name},
              {name},
              {name},
            ),
            min(1, x),
          ) + 1
        }}
        """,
    )


def test_a_long_head_keeps_equals_on_a_line_of_its_own():
    check(
        """
        rule precondition adam(b1 = 0.9 in [0, 1), b2 = 0.999 in [0, 1), eps = 1e-8)
          equals optax.scale_by_adam(b1, b2, eps) { return g }
        """,
        """
        rule precondition adam(b1 = 0.9 in [0, 1), b2 = 0.999 in [0, 1), eps = 1e-8)
          equals optax.scale_by_adam(b1, b2, eps)
        {
          return g
        }
        """,
    )


def test_a_claim_that_is_too_long_is_broken_like_any_call():
    check(
        """
        optimizer a(lr = 0.1, b = 0.9) equals optax.chain(optax.ema(b, debias = false),
          optax.scale_by_sign(), optax.scale_by_learning_rate(lr)) { tune step lr }
        schedule fall(peak, total) equals optax.linear_schedule(peak, 0, total) = peak * t / total
        """,
        """
        optimizer a(lr = 0.1, b = 0.9)
          equals optax.chain(
            optax.ema(b, debias = false),
            optax.scale_by_sign(),
            optax.scale_by_learning_rate(lr),
          )
        {
          tune step lr
        }

        schedule fall(peak, total) equals optax.linear_schedule(peak, 0, total) =
          peak * t / total
        """,
    )


def test_a_chain_of_choices_stays_in_one_column():
    check(
        "func f(x) { when x is [] { return 1 } else { when x is [.., n] { } else { return 2 } } }",
        """
        func f(x) {
          when x is [] {
            return 1
          } else when x is [.., n] {} else {
            return 2
          }
        }
        """,
    )


def test_docstrings_keep_their_lines():
    check(
        '''
           """One line."""
        func f() { return 1 }
        """   Two
             lines.
        """
        func g() { return 1 }
        func h() {
            """
            Two
            lines.
            """
            return 1 }
        ''',
        '''
        """One line."""
        func f() {
          return 1
        }

        """
        Two
        lines.
        """
        func g() {
          return 1
        }

        func h() {
          """Two
          lines."""
          return 1
        }
        ''',
    )


def test_neighbouring_uses_may_stand_together_and_other_items_stand_apart():
    check(
        'edition 1 use "a" use "b"\n\n\n\nuse "c" schedule one() = 1 schedule two() = 2',
        """
        edition 1

        use "a"
        use "b"

        use "c"

        schedule one() = 1

        schedule two() = 2
        """,
    )
