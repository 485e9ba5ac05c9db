"""DeiT as transformers writes it (DeiTModel, DeiTForImageClassificationWithTeacher).

Touvron et al. 2020, arXiv:2012.12877: `models/vision/vit.py` with `distilled`. The models without a
second token were published as ViT. DeiTForImageClassification, which has the token and no head on
it, has no counterpart.

Axis letters: `b` of one, `l` tokens, `d` width.
"""

from dataclasses import replace

from tools.weights.common.family import Architecture, Entry
from tools.weights.common.layers import dense
from tools.weights.vit import BODY
from tools.weights.vit import FAMILY as VIT

FAMILY = replace(
    VIT,
    model_type="deit",
    prefix="deit.",
    architectures={
        "DeiTModel": Architecture(),
        "DeiTForImageClassificationWithTeacher": Architecture(group="head"),
    },
    entries=(
        *BODY,
        Entry("embeddings.distillation_token", "distillation_token", "1 1 d -> d"),
        *dense("cls_classifier", "head", "head", outside=True),
        *dense("distillation_classifier", "distillation_head", "head", outside=True),
    ),
    ours_fixed={**VIT.ours_fixed, "distilled": (True,)},
)
