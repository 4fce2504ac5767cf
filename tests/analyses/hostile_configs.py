"""Hostile config.json: code, other files, kernels, sizes without end. All must be refused."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Spoil = Callable[[Path], None]


def _sets(**fields: object) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return spoil


def _says(text: str | bytes) -> Spoil:
    def spoil(folder: Path) -> None:
        content = text if isinstance(text, bytes) else text.encode()
        (folder / "config.json").write_bytes(content)

    return spoil


def _of_family(family: str, **fields: object) -> Spoil:
    return _says(json.dumps({"model_type": family, "vocab_size": 257, **fields}))


def _shaped(number: Any) -> Mapping[str, Any]:
    return {"model_type": "llama", "num_hidden_layers": number}


_CODE = {"AutoModelForCausalLM": "modeling_evil.Evil", "AutoConfig": "modeling_evil.Config"}
_KERNEL = "kernels-community/flash-attn"
CONFIGS: dict[str, Spoil] = {
    "code": _sets(auto_map=_CODE),
    "code of another repository": _sets(auto_map={"AutoConfig": "owner/name--evil.Evil"}),
    "code by a text": _sets(auto_map="modeling_evil.Evil"),
    "code of a part": _sets(text_config={"model_type": "llama", "auto_map": _CODE}),
    "code in a list": _sets(parts=[{"auto_map": _CODE}]),
    "a pipeline": _sets(custom_pipelines={"evil": {"impl": "modeling_evil.Evil"}}),
    "a way to generate": _sets(custom_generate="owner/name"),
    "trust": _sets(trust_remote_code=True),
    "quantised": _sets(quantization_config={"quant_method": "awq", "bits": 4}),
    "a quantised part": _sets(text_config={"quantization_config": {"quant_method": "gptq"}}),
    "compressed": _sets(compression_config={"format": "int-quantized"}),
    "a kernel": _sets(attn_implementation=_KERNEL),
    "a kernel, stored": _sets(_attn_implementation="owner/repo:function"),
    "a kernel, internal": _sets(_attn_implementation_internal=f"paged|{_KERNEL}"),
    "a kernel of a part": _sets(vision_config={"attn_implementation": _KERNEL}),
    "kernels by part": _sets(attn_implementation={"text_config": _KERNEL}),
    "a kernel for experts": _sets(experts_implementation="sonicmoe"),
    "kernels": _sets(use_kernels=True),
    "kernels by layer": _sets(kernel_config={"RMSNorm": f"{_KERNEL}:RMSNorm"}),
    "fused layers": _sets(fusion_config={"patch_embeddings": True}),
    "pickled weights": _sets(transformers_weights="pytorch_model.bin"),
    "a pickled adapter": _sets(transformers_weights="adapter_model.bin"),
    "weights elsewhere": _sets(transformers_weights="../other/model.safetensors"),
    "configs by version": _sets(configuration_files=["config.4.0.0.json"]),
    "a backbone": _sets(backbone="owner/name", use_pretrained_backbone=True),
    "a backbone of timm": _sets(vision_config={"use_timm_backbone": True}),
    "several processes": _sets(distributed_config={"tp_plan": "auto"}),
    "a function as dtype": _sets(dtype="load"),
    "a module as dtype": _sets(torch_dtype="hub"),
    "dtypes by part": _sets(dtype={"": "compile"}),
    "many layers": _sets(num_hidden_layers=100_000),
    "layers without end": _sets(num_hidden_layers=10**15),
    "layers as a float": _sets(num_hidden_layers=1e9),
    "layers as a text": _sets(num_hidden_layers="100000"),
    "layers of no number": _says('{"model_type": "llama", "num_hidden_layers": NaN}'),
    "infinitely many layers": _says('{"model_type": "llama", "num_hidden_layers": Infinity}'),
    "fewer than no layers": _sets(num_hidden_layers=-(10**6)),
    "layers of a part": _sets(vision_config={"depth": 10**6}),
    "GPT-2's layers": _of_family("gpt2", n_layer=50_000),
    "many layers of another family": _of_family("mamba", num_hidden_layers=50_000),
    "repeated layers": _of_family("gpt_neo", attention_types=[[["global"], 10**9]]),
    "names of layers": _sets(layer_types=["full_attention"] * 600_000),
    "many heads": _sets(num_attention_heads=10**9),
    "heads of no width": _sets(num_attention_heads=10**4),
    "no key heads": _sets(num_key_value_heads=0),
    "many experts": _of_family("mixtral", num_local_experts=10**8),
    "many small experts": _of_family("qwen2_moe", num_experts=16_000, hidden_size=64),
    "a vocabulary without end": _sets(vocab_size=10**12),
    "a large vocabulary": _sets(vocab_size=15_000_000),
    "a wide model": _sets(hidden_size=4_000_000),
    "a wide layer": _sets(intermediate_size=10**12),
    "more than 64 bits": _sets(intermediate_size=10**30),
    "many positions": _of_family("gpt2", n_positions=10**12),
    "a mask of many positions": _of_family("gpt_neo", max_position_embeddings=10**6),
    "a large file": _says(" " * (9 * 2**20) + "{}"),
    "deep": _says('{"a":' * 500 + "1" + "}" * 500),
    "deeper than the stack": _says("[" * 200_000),
    "a long number": _says('{"model_type": "llama", "vocab_size": ' + "9" * 10_000 + "}"),
    "a list": _says("[]"),
    "no text": _says(b"\xff\xfe{\x00}\x00"),
    "a pickle": _says(b"\x80\x04cos\nsystem\n."),
    "a family that is a list": _says(json.dumps({"model_type": ["llama"]})),
    "a family that is a path": _says(json.dumps({"model_type": "../modeling_evil"})),
    "no family": _says("{}"),
    "a family that wraps others": _of_family("timm_wrapper", architecture="resnet18"),
    "a family that loads others": _of_family("rag", question_encoder={}, generator={}),
    "an architecture by path": _of_family("modeling_evil", architectures=["modeling_evil.Evil"]),
    "methods": _sets(get_text_config="x", to_dict="x"),
    "classes of parts": _sets(sub_configs={"text_config": "x"}, model_type="gemma3"),
    "rotary of another form": _sets(rope_parameters=[1, 2]),
}
