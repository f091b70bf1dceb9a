"""Trees of well-known models, as JAX lays them out: kernels have their inputs first.

Tests hold the numbers of parameters against the published ones.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise

from .tensors import Tensor, Tree

_Shapes = Iterator[tuple[str, tuple[int, ...]]]


def model(name: str) -> Tree | None:
    """The built-in tree of a name, in float32."""
    shapes = MODELS.get(name)
    return shapes and Tree.of(name, (Tensor(path, shape) for path, shape in shapes()))


# ---- parts


def _dense(path: str, inputs: int, outputs: int) -> _Shapes:
    yield f"{path}/kernel", (inputs, outputs)
    yield f"{path}/bias", (outputs,)


def _norm(path: str, width: int) -> _Shapes:
    yield f"{path}/scale", (width,)
    yield f"{path}/bias", (width,)


def _conv(path: str, size: int, inputs: int, outputs: int) -> _Shapes:
    yield f"{path}/kernel", (size, size, inputs, outputs)


# ---- models


def _mlp(widths: Sequence[int]) -> _Shapes:
    *hidden, last = pairwise(widths)
    for place, (inputs, outputs) in enumerate(hidden):
        yield from _dense(f"layer_{place}", inputs, outputs)
    yield from _dense("head", *last)


def _gpt2(layers: int, width: int) -> _Shapes:
    """Radford et al. 2019; the embedding is the output layer too."""
    yield "wte/embedding", (50257, width)
    yield "wpe/embedding", (1024, width)
    for layer in range(layers):
        block = f"h/{layer}"
        yield from _norm(f"{block}/ln_1", width)
        yield from _dense(f"{block}/attn/c_attn", width, 3 * width)
        yield from _dense(f"{block}/attn/c_proj", width, width)
        yield from _norm(f"{block}/ln_2", width)
        yield from _dense(f"{block}/mlp/c_fc", width, 4 * width)
        yield from _dense(f"{block}/mlp/c_proj", 4 * width, width)
    yield from _norm("ln_f", width)


def _llama(layers: int, width: int, keys: int, inner: int, words: int) -> _Shapes:
    """Llama 2 (arXiv:2307.09288) and 3 (arXiv:2407.21783); `keys` is the width of the keys."""
    yield "embed_tokens/embedding", (words, width)
    for layer in range(layers):
        block = f"layers/{layer}"
        yield f"{block}/input_norm/scale", (width,)
        for name, outputs in (("q", width), ("k", keys), ("v", keys), ("o", width)):
            yield f"{block}/self_attn/{name}_proj/kernel", (width, outputs)
        yield f"{block}/post_attention_norm/scale", (width,)
        yield f"{block}/mlp/gate_proj/kernel", (width, inner)
        yield f"{block}/mlp/up_proj/kernel", (width, inner)
        yield f"{block}/mlp/down_proj/kernel", (inner, width)
    yield "norm/scale", (width,)
    yield "lm_head/kernel", (width, words)


def _bert(layers: int, width: int) -> _Shapes:
    """BERT (arXiv:1810.04805), uncased, with its pooler and without a head."""
    for name, rows in (("word", 30522), ("position", 512), ("token_type", 2)):
        yield f"embeddings/{name}/embedding", (rows, width)
    yield from _norm("embeddings/norm", width)
    for layer in range(layers):
        block = f"encoder/{layer}"
        for name in ("query", "key", "value", "output"):
            yield from _dense(f"{block}/attention/{name}", width, width)
        yield from _norm(f"{block}/attention/norm", width)
        yield from _dense(f"{block}/mlp/up", width, 4 * width)
        yield from _dense(f"{block}/mlp/down", 4 * width, width)
        yield from _norm(f"{block}/mlp/norm", width)
    yield from _dense("pooler", width, width)


def _vit(layers: int, width: int, patch: int) -> _Shapes:
    """ViT (arXiv:2010.11929) on images of 224 pixels with 1000 classes."""
    yield "cls", (1, 1, width)
    yield "pos_embedding", (1, 1 + (224 // patch) ** 2, width)
    yield from _conv("patches", patch, 3, width)
    yield "patches/bias", (width,)
    for layer in range(layers):
        block = f"encoder/{layer}"
        yield from _norm(f"{block}/norm_1", width)
        for name in ("query", "key", "value", "output"):
            yield from _dense(f"{block}/attention/{name}", width, width)
        yield from _norm(f"{block}/norm_2", width)
        yield from _dense(f"{block}/mlp/up", width, 4 * width)
        yield from _dense(f"{block}/mlp/down", 4 * width, width)
    yield from _norm("norm", width)
    yield from _dense("head", width, 1000)


def _resnet(blocks: Sequence[int]) -> _Shapes:
    """ResNet with bottlenecks (arXiv:1512.03385); the running statistics are not trained."""
    yield from _conv("stem/conv", 7, 3, 64)
    yield from _norm("stem/norm", 64)
    inputs = 64
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        for block in range(count):
            path = f"stages/{stage}/{block}"
            sizes = ((1, inputs, width), (3, width, width), (1, width, 4 * width))
            for place, (size, before, after) in enumerate(sizes, 1):
                yield from _conv(f"{path}/conv_{place}", size, before, after)
                yield from _norm(f"{path}/norm_{place}", after)
            if block == 0:
                yield from _conv(f"{path}/shortcut/conv", 1, inputs, 4 * width)
                yield from _norm(f"{path}/shortcut/norm", 4 * width)
            inputs = 4 * width
    yield from _dense("head", inputs, 1000)


# ---- the tasks of `optc train`


def _text(layers: int, width: int, context: int, characters: int) -> _Shapes:
    yield "embed/characters", (characters, width)
    yield "embed/positions", (context, width)
    for layer in range(layers):
        block = f"layer_{layer}"
        yield from _norm(f"{block}/attention_norm", width)
        yield f"{block}/attention_in", (width, 3 * width)
        yield f"{block}/attention_out", (width, width)
        yield from _norm(f"{block}/mlp_norm", width)
        yield f"{block}/mlp_in", (width, 4 * width)
        yield f"{block}/mlp_out", (4 * width, width)
    yield from _norm("last_norm", width)
    yield "head", (width, characters)


MODELS: dict[str, Callable[[], _Shapes]] = {
    "gpt2-124m": partial(_gpt2, 12, 768),
    "gpt2-355m": partial(_gpt2, 24, 1024),
    "gpt2-774m": partial(_gpt2, 36, 1280),
    "gpt2-1558m": partial(_gpt2, 48, 1600),
    "llama-2-7b": partial(_llama, 32, 4096, 4096, 11008, 32000),
    "llama-3-8b": partial(_llama, 32, 4096, 1024, 14336, 128256),
    "bert-base": partial(_bert, 12, 768),
    "vit-b-16": partial(_vit, 12, 768, 16),
    "resnet-50": partial(_resnet, (3, 4, 6, 3)),
    "mlp": partial(_mlp, (784, 512, 512, 10)),
    "digits": partial(_mlp, (64, 128, 128, 10)),
    "text": partial(_text, 4, 128, 64, 97),
}
"""The built-in trees by name."""
