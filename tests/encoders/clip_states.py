"""Small CLIPs with the recipe's weights, in both published layouts."""

from collections.abc import Mapping

import numpy as np
import recipe_extract as recipe

from tests.encoders.networks import SEED, SHAPES

HEADS = 4, 4  # of both towers of the small network; published ones follow from the width
_WORDS = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.embeddings.patch_embedding": "visual.conv1",
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "vision_model.encoder.layers": "visual.transformer.resblocks",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.final_layer_norm": "ln_final",
    "text_model.encoder.layers": "transformer.resblocks",
    "visual_projection.weight": "visual.proj",
    "text_projection.weight": "text_projection",
    "self_attn": "attn",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "layer_norm": "ln_",
}


def hugging_face(size: str = "small/") -> dict[str, np.ndarray]:
    """With the position ids that older files have. The size "" is ViT-L/14."""
    state = recipe.weights(SHAPES[f"{size}clip_hf"], SEED)
    for tower in ("text_model", "vision_model"):
        length = len(state[f"{tower}.embeddings.position_embedding.weight"])
        state[f"{tower}.embeddings.position_ids"] = np.arange(length)[None]
    return state


def openai(state: Mapping[str, np.ndarray], dtype: str = "f4") -> dict[str, np.ndarray]:
    """The tensors of Hugging Face's layout in OpenAI's, matrices of another kind."""
    made = {"input_resolution": np.array(56), "context_length": np.array(16)}
    made["vocab_size"] = np.array(300)
    for name, value in state.items():
        if name.endswith("position_ids") or ".k_proj" in name or ".v_proj" in name:
            continue
        if ".q_proj" in name:
            value = np.concatenate([state[name.replace("q_proj", f"{x}_proj")] for x in "qkv"])
            name = name.replace("q_proj.", "in_proj_")
        for theirs, ours in _WORDS.items():
            name = name.replace(theirs, ours)
        value = value.T if name in ("visual.proj", "text_projection") else value
        made[name] = value.astype(dtype) if value.ndim > 1 else value
    return made
