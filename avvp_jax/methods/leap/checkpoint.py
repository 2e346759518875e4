"""LEAP's published checkpoint: its names, second names, and modules that are never called."""

from avvp_jax.interchange.layouts import Shapes

WORDS = {
    "pyramid": "MMP",
    "levels": "capture.msa",
    "audio_convolutions": "capture.anetwork",
    "visual_convolutions": "capture.vnetwork",
    "wide": "net.0",
    "narrow": "net.2",
    "taps": "weight",
    "audio_self": "asablock.layer",
    "visual_self": "vsablock.layer",
    "cross": "cmablock.layer",
    "audio_self_gate": "la1",
    "audio_cross_gate": "la2",
    "visual_self_gate": "lv1",
    "visual_cross_gate": "lv2",
    "audio_fusion": "fusion.aadaptiveinteraction",
    "visual_fusion": "fusion.vadaptiveinteraction",
    "audio_share": "fusion.aselectfusion",
    "visual_share": "fusion.vselectfusion",
    "decoder": "AVL",
    "audio_layers": "la_cma_network",
    "visual_layers": "lv_cma_network",
    "attention": "self_attn",
    "inner": "w_1",
    "outer": "w_2",
    "norm1": "sublayer.0.norm",
    "norm2": "sublayer.1.norm",
}
# The modules of which the program makes copies: they stay in the checkpoint.
TEMPLATES = ("MMP.capture", "MMP.fusion", "AVL")


def aliases(network: Shapes) -> dict[str, str]:
    """Each convolution is stored by itself and in the sequence that is called."""
    places = {".net.0.": ".conv1.", ".net.2.": ".conv2."}
    return {
        name.replace(called, stored): name
        for name in network
        for called, stored in places.items()
        if called in name
    }


def unused(network: Shapes) -> Shapes:
    """Templates of attention and feed-forward networks, and a norm in every attention."""
    width = network["fc_a.weight"][0]
    hidden = network["AVL.la_cma_network.0.feed_forward.w_1.weight"][0]
    attentions = [
        name.removesuffix(".linears.0.weight")
        for name in network
        if name.endswith(".self_attn.linears.0.weight")
    ]
    found = {}
    for template in TEMPLATES:
        attention, feed = f"{template}.multiheadattn", f"{template}.feedforward"
        attentions.append(attention)
        for place in range(4):
            found[f"{attention}.linears.{place}.weight"] = (width, width)
            found[f"{attention}.linears.{place}.bias"] = (width,)
        found |= {f"{feed}.w_1.weight": (hidden, width), f"{feed}.w_1.bias": (hidden,)}
        found |= {f"{feed}.w_2.weight": (width, hidden), f"{feed}.w_2.bias": (width,)}
    for attention in attentions:
        found |= {f"{attention}.layer_norm.{part}": (width,) for part in ("weight", "bias")}
    return found
