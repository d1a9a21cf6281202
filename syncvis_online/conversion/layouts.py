"""Names of Mask2Former's tensors in other projects, and ours for them (docs/model.md, "Weights people already have").

A layout is a list of patterns over whole names. Tensors that other projects keep together and this one keeps apart
(or the other way round) get names with a last part of their own, which `convert` knows: `in_proj` (query, key and
value of an attention on top of each other) and `q`, `k`, `v` (apart, where we keep them together).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


def _rules(*pairs: tuple[str, str | Callable[[re.Match[str]], str]]) -> tuple[Rule, ...]:
    return tuple((re.compile(pattern), name) for pattern, name in pairs)


def _next(form: str) -> Callable[[re.Match[str]], str]:
    """A name in which the third number is one higher: projects count convolutions from 0 or from 1."""
    return lambda m: form.format(m[1], m[2], int(m[3]) + 1, m[4])


_HF = r"model\.pixel_level_module\."
_HF_SWIN = _HF + r"encoder\.(?:swin\.)?"
_HF_BLOCK = _HF_SWIN + r"encoder\.layers\.(\d+)\.blocks\.(\d+)\."
_HF_DECODER = r"model\.transformer_module\.decoder\."
_BLOCK = r"backbone.stages.\1.\2."

HUGGING_FACE = _rules(
    # ResNet
    (_HF + r"encoder\.embedder\.embedder\.convolution\.(.+)", r"backbone.stem.0.0.\1"),
    (_HF + r"encoder\.embedder\.embedder\.normalization\.(.+)", r"backbone.stem.0.1.\1"),
    (
        _HF + r"encoder\.encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d)\.convolution\.(.+)",
        _next("backbone.stages.{}.{}.conv{}.0.{}"),
    ),
    (
        _HF + r"encoder\.encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d)\.normalization\.(.+)",
        _next("backbone.stages.{}.{}.conv{}.1.{}"),
    ),
    (
        _HF + r"encoder\.encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.convolution\.(.+)",
        _BLOCK + r"shortcut.0.\3",
    ),
    (
        _HF + r"encoder\.encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.normalization\.(.+)",
        _BLOCK + r"shortcut.1.\3",
    ),
    # Swin; names before and after transformers 5
    (_HF_SWIN + r"embeddings\.patch_embeddings\.projection\.(.+)", r"backbone.patch_embed.\1"),
    (_HF_SWIN + r"embeddings\.norm\.(.+)", r"backbone.patch_norm.\1"),
    (_HF_BLOCK + r"layernorm_before\.(.+)", _BLOCK + r"norm1.\3"),
    (_HF_BLOCK + r"layernorm_after\.(.+)", _BLOCK + r"norm2.\3"),
    (_HF_BLOCK + r"attention\.(?:self\.query|q_proj)\.(.+)", _BLOCK + r"attention.qkv.\3.q"),
    (_HF_BLOCK + r"attention\.(?:self\.key|k_proj)\.(.+)", _BLOCK + r"attention.qkv.\3.k"),
    (_HF_BLOCK + r"attention\.(?:self\.value|v_proj)\.(.+)", _BLOCK + r"attention.qkv.\3.v"),
    (_HF_BLOCK + r"attention\.(?:output\.dense|o_proj)\.(.+)", _BLOCK + r"attention.output.\3"),
    (
        _HF_BLOCK + r"attention\.(?:self|relative_position_bias)\.relative_position_bias_table",
        _BLOCK + r"attention.position_bias",
    ),
    (_HF_BLOCK + r"(?:intermediate\.dense|mlp\.fc1)\.(.+)", _BLOCK + r"mlp.0.\3"),
    (_HF_BLOCK + r"(?:output\.dense|mlp\.fc2)\.(.+)", _BLOCK + r"mlp.2.\3"),
    (_HF_SWIN + r"encoder\.layers\.(\d+)\.downsample\.(.+)", r"backbone.merges.\1.\2"),
    (
        _HF + r"encoder\.hidden_states_norms\.(?:stage)?([1-4])\.(.+)",
        lambda m: f"backbone.norms.{int(m[1]) - 1}.{m[2]}",
    ),
    # pixel decoder
    (_HF + r"decoder\.level_embed", r"pixel_decoder.level_embedding"),
    (_HF + r"decoder\.input_projections\.(.+)", r"pixel_decoder.inputs.\1"),
    (
        _HF + r"decoder\.encoder\.layers\.(\d+)\.self_attn\.sampling_offsets\.(.+)",
        r"pixel_decoder.layers.\1.attention.offsets.\2",
    ),
    (
        _HF + r"decoder\.encoder\.layers\.(\d+)\.self_attn\.attention_weights\.(.+)",
        r"pixel_decoder.layers.\1.attention.weights.\2",
    ),
    (
        _HF + r"decoder\.encoder\.layers\.(\d+)\.self_attn\.(value|output)_proj\.(.+)",
        r"pixel_decoder.layers.\1.attention.\2.\3",
    ),
    (
        _HF + r"decoder\.encoder\.layers\.(\d+)\.self_attn_layer_norm\.(.+)",
        r"pixel_decoder.layers.\1.attention_norm.\2",
    ),
    (_HF + r"decoder\.encoder\.layers\.(\d+)\.fc1\.(.+)", r"pixel_decoder.layers.\1.ffn.0.\2"),
    (_HF + r"decoder\.encoder\.layers\.(\d+)\.fc2\.(.+)", r"pixel_decoder.layers.\1.ffn.2.\2"),
    (
        _HF + r"decoder\.encoder\.layers\.(\d+)\.final_layer_norm\.(.+)",
        r"pixel_decoder.layers.\1.ffn_norm.\2",
    ),
    (_HF + r"decoder\.adapter_1\.(.+)", r"pixel_decoder.lateral.\1"),
    (_HF + r"decoder\.layer_1\.(.+)", r"pixel_decoder.output.\1"),
    (_HF + r"decoder\.mask_projection\.(.+)", r"pixel_decoder.mask_features.\1"),
    # transformer decoder
    (r"model\.transformer_module\.queries_features\.weight", r"decoder.frame_query"),
    (r"model\.transformer_module\.queries_embedder\.weight", r"decoder.frame_position"),
    (r"model\.transformer_module\.level_embed\.weight", r"decoder.level_embedding"),
    (_HF_DECODER + r"layers\.(\d+)\.self_attn\.q_proj\.(.+)", r"decoder.layers.\1.self_attention.query.\2"),
    (_HF_DECODER + r"layers\.(\d+)\.self_attn\.k_proj\.(.+)", r"decoder.layers.\1.self_attention.key.\2"),
    (_HF_DECODER + r"layers\.(\d+)\.self_attn\.v_proj\.(.+)", r"decoder.layers.\1.self_attention.value.\2"),
    (
        _HF_DECODER + r"layers\.(\d+)\.self_attn\.out_proj\.(.+)",
        r"decoder.layers.\1.self_attention.output.\2",
    ),
    (
        _HF_DECODER + r"layers\.(\d+)\.cross_attn\.in_proj_(.+)",
        r"decoder.layers.\1.cross_attention.\2.in_proj",
    ),
    (
        _HF_DECODER + r"layers\.(\d+)\.cross_attn\.out_proj\.(.+)",
        r"decoder.layers.\1.cross_attention.output.\2",
    ),
    (_HF_DECODER + r"layers\.(\d+)\.cross_attn_layer_norm\.(.+)", r"decoder.layers.\1.cross_norm.\2"),
    (_HF_DECODER + r"layers\.(\d+)\.self_attn_layer_norm\.(.+)", r"decoder.layers.\1.self_norm.\2"),
    (_HF_DECODER + r"layers\.(\d+)\.fc1\.(.+)", r"decoder.layers.\1.ffn.0.\2"),
    (_HF_DECODER + r"layers\.(\d+)\.fc2\.(.+)", r"decoder.layers.\1.ffn.2.\2"),
    (_HF_DECODER + r"layers\.(\d+)\.final_layer_norm\.(.+)", r"decoder.layers.\1.ffn_norm.\2"),
    (_HF_DECODER + r"layernorm\.(.+)", r"decoder.norm.\1"),
    (
        _HF_DECODER + r"mask_predictor\.mask_embedder\.(\d)\.0\.(.+)",
        lambda m: f"decoder.mask_head.{2 * int(m[1])}.{m[2]}",
    ),
    (r"class_predictor\.(.+)", r"decoder.class_head.\1"),
)
"""transformers' Mask2FormerForUniversalSegmentation, ResNet and Swin backbones."""


def _stage(form: str) -> Callable[[re.Match[str]], str]:
    """detectron2 counts stages from res2."""
    return lambda m: form.format(int(m[1]) - 2, *m.groups()[1:])


_D2_BLOCK = r"backbone\.layers\.(\d+)\.blocks\.(\d+)\."
_D2_PIXEL = r"sem_seg_head\.(?:pixel_decoder\.)?"
_D2_LAYER = _D2_PIXEL + r"transformer\.encoder\.layers\.(\d+)\."
_D2_PREDICTOR = r"sem_seg_head\.predictor\."

DETECTRON2 = _rules(
    # ResNet
    (r"backbone\.stem\.conv1\.weight", r"backbone.stem.0.0.weight"),
    (r"backbone\.stem\.conv1\.norm\.(.+)", r"backbone.stem.0.1.\1"),
    (r"backbone\.res([2-5])\.(\d+)\.(conv\d|shortcut)\.weight", _stage("backbone.stages.{}.{}.{}.0.weight")),
    (r"backbone\.res([2-5])\.(\d+)\.(conv\d|shortcut)\.norm\.(.+)", _stage("backbone.stages.{}.{}.{}.1.{}")),
    # Swin
    (r"backbone\.patch_embed\.proj\.(.+)", r"backbone.patch_embed.\1"),
    (r"backbone\.patch_embed\.norm\.(.+)", r"backbone.patch_norm.\1"),
    (_D2_BLOCK + r"(norm[12])\.(.+)", _BLOCK + r"\3.\4"),
    (_D2_BLOCK + r"attn\.qkv\.(.+)", _BLOCK + r"attention.qkv.\3"),
    (_D2_BLOCK + r"attn\.proj\.(.+)", _BLOCK + r"attention.output.\3"),
    (_D2_BLOCK + r"attn\.relative_position_bias_table", _BLOCK + r"attention.position_bias"),
    (_D2_BLOCK + r"mlp\.fc1\.(.+)", _BLOCK + r"mlp.0.\3"),
    (_D2_BLOCK + r"mlp\.fc2\.(.+)", _BLOCK + r"mlp.2.\3"),
    (r"backbone\.layers\.(\d+)\.downsample\.(.+)", r"backbone.merges.\1.\2"),
    (r"backbone\.norm([0-3])\.(.+)", r"backbone.norms.\1.\2"),
    # transformer decoder (before the pixel decoder: old files have no prefix of their own for that)
    (_D2_PREDICTOR + r"(?:query_feat|static_query)\.weight", r"decoder.frame_query"),
    (_D2_PREDICTOR + r"query_embed\.weight", r"decoder.frame_position"),
    (_D2_PREDICTOR + r"level_embed\.weight", r"decoder.level_embedding"),
    (
        _D2_PREDICTOR + r"transformer_cross_attention_layers\.(\d+)\.multihead_attn\.in_proj_(.+)",
        r"decoder.layers.\1.cross_attention.\2.in_proj",
    ),
    (
        _D2_PREDICTOR + r"transformer_cross_attention_layers\.(\d+)\.multihead_attn\.out_proj\.(.+)",
        r"decoder.layers.\1.cross_attention.output.\2",
    ),
    (
        _D2_PREDICTOR + r"transformer_cross_attention_layers\.(\d+)\.norm\.(.+)",
        r"decoder.layers.\1.cross_norm.\2",
    ),
    (
        _D2_PREDICTOR + r"transformer_self_attention_layers\.(\d+)\.self_attn\.in_proj_(.+)",
        r"decoder.layers.\1.self_attention.\2.in_proj",
    ),
    (
        _D2_PREDICTOR + r"transformer_self_attention_layers\.(\d+)\.self_attn\.out_proj\.(.+)",
        r"decoder.layers.\1.self_attention.output.\2",
    ),
    (
        _D2_PREDICTOR + r"transformer_self_attention_layers\.(\d+)\.norm\.(.+)",
        r"decoder.layers.\1.self_norm.\2",
    ),
    (_D2_PREDICTOR + r"transformer_ffn_layers\.(\d+)\.linear1\.(.+)", r"decoder.layers.\1.ffn.0.\2"),
    (_D2_PREDICTOR + r"transformer_ffn_layers\.(\d+)\.linear2\.(.+)", r"decoder.layers.\1.ffn.2.\2"),
    (_D2_PREDICTOR + r"transformer_ffn_layers\.(\d+)\.norm\.(.+)", r"decoder.layers.\1.ffn_norm.\2"),
    (_D2_PREDICTOR + r"decoder_norm\.(.+)", r"decoder.norm.\1"),
    (
        _D2_PREDICTOR + r"mask_embed\.layers\.(\d)\.(.+)",
        lambda m: f"decoder.mask_head.{2 * int(m[1])}.{m[2]}",
    ),
    (_D2_PREDICTOR + r"class_embed\.(.+)", r"decoder.class_head.\1"),
    # pixel decoder
    (_D2_PIXEL + r"transformer\.level_embed", r"pixel_decoder.level_embedding"),
    (_D2_PIXEL + r"input_proj\.(.+)", r"pixel_decoder.inputs.\1"),
    (_D2_LAYER + r"self_attn\.sampling_offsets\.(.+)", r"pixel_decoder.layers.\1.attention.offsets.\2"),
    (_D2_LAYER + r"self_attn\.attention_weights\.(.+)", r"pixel_decoder.layers.\1.attention.weights.\2"),
    (_D2_LAYER + r"self_attn\.(value|output)_proj\.(.+)", r"pixel_decoder.layers.\1.attention.\2.\3"),
    (_D2_LAYER + r"norm1\.(.+)", r"pixel_decoder.layers.\1.attention_norm.\2"),
    (_D2_LAYER + r"linear1\.(.+)", r"pixel_decoder.layers.\1.ffn.0.\2"),
    (_D2_LAYER + r"linear2\.(.+)", r"pixel_decoder.layers.\1.ffn.2.\2"),
    (_D2_LAYER + r"norm2\.(.+)", r"pixel_decoder.layers.\1.ffn_norm.\2"),
    (_D2_PIXEL + r"adapter_1\.weight", r"pixel_decoder.lateral.0.weight"),
    (_D2_PIXEL + r"adapter_1\.norm\.(.+)", r"pixel_decoder.lateral.1.\1"),
    (_D2_PIXEL + r"layer_1\.weight", r"pixel_decoder.output.0.weight"),
    (_D2_PIXEL + r"layer_1\.norm\.(.+)", r"pixel_decoder.output.1.\1"),
    (_D2_PIXEL + r"mask_features\.(.+)", r"pixel_decoder.mask_features.\1"),
)
"""The Mask2Former repository, and the video models made of it (MinVIS, VITA, GenVIS)."""

LAYOUTS = {"Hugging Face": HUGGING_FACE, "detectron2": DETECTRON2}

DERIVED = re.compile(
    r".*(?:relative_position_index|num_batches_tracked)|criterion\.empty_weight|pixel_(?:mean|std)"
)
"""Names of tensors that hold no weights: indices, counters, constants. They are neither used nor missed."""


def renamed(name: str, rules: Sequence[Rule]) -> str | None:
    """Our name for a tensor, None where there is no rule for it."""
    for pattern, form in rules:
        found = pattern.fullmatch(name)
        if found:
            return form(found) if callable(form) else found.expand(form)
    return None
