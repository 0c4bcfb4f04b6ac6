"""Networks of timm, transformers and torchaudio, made small by their own options, with random weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Build = Callable[[], nn.Module]


class Outputs(nn.Module):
    """A model that returns one tensor: of a tuple the first, of an output object of transformers its main tensor."""

    def __init__(self, model: nn.Module, *, masked: bool = False) -> None:
        super().__init__()
        self.model, self.masked = model, masked

    def forward(self, x: Tensor) -> Tensor:
        mask = {"attention_mask": torch.ones_like(x)} if self.masked else {}
        return self.model(x, **mask)[0]


class WithLengths(nn.Module):
    """A model that is given the lengths of its examples beside them, all full: (B, T, n) -> its first output."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x, torch.full((x.shape[0],), x.shape[1]))[0]


IMAGE = (1, 3, 64, 64)


def timm_model(name: str, **options: Any) -> tuple[Build, tuple[int, ...]]:
    def build() -> nn.Module:
        import timm

        return timm.create_model(name, pretrained=False, num_classes=5, **options)

    return build, (1, 3, options["img_size"], options["img_size"]) if "img_size" in options else IMAGE


def timm_class(module: str, name: str, **options: Any) -> tuple[Build, tuple[int, ...]]:
    """A network of timm by its class, with all its widths given; a word beginning with ``:`` is a block by name."""

    def build() -> nn.Module:
        import importlib

        models = importlib.import_module(f"timm.models.{module}")
        given = {k: getattr(models, v[1:]) if isinstance(v, str) and v[0] == ":" else v for k, v in options.items()}
        return getattr(models, name)(num_classes=5, **given)

    return build, (1, 3, options["img_size"], options["img_size"]) if "img_size" in options else IMAGE


WAVE, WORDS, IMAGES = (1, 2000), (1, 12), (1, 3, 32, 32)
#: widths of an encoder of transformers
SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
#: of those that read sound
SOUND = {
    **SMALL,
    "conv_dim": (8, 8),
    "conv_stride": (5, 4),
    "conv_kernel": (10, 8),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
}


def hugging(name: str, shape: tuple[int, ...], part: str = "", **options: Any) -> tuple[Build, tuple[int, ...]]:
    """A network of transformers by the beginning of its class's name; ``part`` of it where not all is wanted."""

    def build() -> nn.Module:
        import transformers

        kind, family = (
            getattr(transformers, name),
            name.removesuffix("Model").partition("For")[0].removesuffix("Encoder"),
        )
        config = getattr(transformers, f"{family}Config")(**options)
        model = kind(config)
        return Outputs(model.get_submodule(part) if part else model, masked=shape == WORDS)

    return build, shape


def audio(build: Callable[[Any], nn.Module], shape: tuple[int, ...]) -> tuple[Build, tuple[int, ...]]:
    def made() -> nn.Module:
        import torchaudio

        return build(torchaudio.models)

    return made, shape


def wav2vec2(models: Any) -> nn.Module:
    layers = [(8, 10, 5), (8, 8, 4)]
    return Outputs(
        models.wav2vec2_model("group_norm", layers, False, 24, 0.0, 8, 4, 2, 3, 0.0, 40, 0.0, 0.0, False, 0.0, 5)
    )


VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
STAGES = {"layers": [1, 1, 1, 1], "channels": (8, 16, 24, 32), "stem_width": 8}

#: name -> (what builds it, shape of one input); words for those of integers
ZOO: dict[str, tuple[Build, tuple[int, ...]]] = {
    "timm resnet18": timm_class("resnet", "ResNet", block=":BasicBlock", **STAGES),
    "timm resnet50": timm_class("resnet", "ResNet", block=":Bottleneck", **STAGES),
    "timm resnext50": timm_class("resnet", "ResNet", block=":Bottleneck", cardinality=4, base_width=16, **STAGES),
    "timm seresnet50": timm_class("resnet", "ResNet", block=":Bottleneck", block_args={"attn_layer": "se"}, **STAGES),
    "timm res2net50": timm_class(
        "res2net", "ResNet", block=":Bottle2neck", base_width=26, block_args={"scale": 4}, **STAGES
    ),
    "timm densenet121": timm_class("densenet", "DenseNet", growth_rate=6, block_config=(2, 3, 2)),
    "timm resnest26": timm_class(
        "resnest", "ResNet", block=":ResNestBottleneck", base_width=64, block_args={"radix": 2, "avd": True}, **STAGES
    ),
    "timm skresnet18": timm_class("sknet", "ResNet", block=":SelectiveKernelBasic", zero_init_last=False, **STAGES),
    "timm mobilenetv2": timm_model("mobilenetv2_035"),
    "timm mobilenetv3": timm_model("mobilenetv3_small_050"),
    "timm efficientnet": timm_model("test_efficientnet"),
    "timm efficientnet with GroupNorm": timm_model("test_efficientnet_gn"),
    "timm mnasnet": timm_model("mnasnet_small"),
    "timm ghostnet": timm_model("ghostnet_050"),
    "timm regnety": timm_model("regnety_002"),
    "timm repvgg": timm_model("test_byobnet"),
    "timm convnext": timm_model("test_convnext"),
    "timm nfnet": timm_model("test_nfnet"),
    "timm mambaout": timm_model("test_mambaout"),
    "timm ese_vovnet19b": timm_model("ese_vovnet19b_slim_dw"),
    "timm vit": timm_class("vision_transformer", "VisionTransformer", **VIT),
    "timm deit": timm_class("deit", "VisionTransformerDistilled", **VIT),
    "timm beit": timm_class("beit", "Beit", **VIT, use_rel_pos_bias=True, use_abs_pos_emb=False),
    "timm eva": timm_class("eva", "Eva", **VIT, use_rot_pos_emb=True),
    "timm cait": timm_class("cait", "Cait", **VIT),
    "timm swin": timm_class(
        "swin_transformer",
        "SwinTransformer",
        img_size=32,
        patch_size=4,
        embed_dim=12,
        depths=(2, 2),
        num_heads=(2, 3),
        window_size=4,
    ),
    "timm pvt_v2": timm_class(
        "pvt_v2",
        "PyramidVisionTransformerV2",
        depths=(1, 1),
        embed_dims=(16, 24),
        num_heads=(2, 3),
        sr_ratios=(4, 2),
        mlp_ratios=(2.0, 2.0),
    ),
    "timm mixer": timm_class("mlp_mixer", "MlpMixer", img_size=32, patch_size=8, num_blocks=2, embed_dim=24),
    "timm convmixer": timm_class("convmixer", "ConvMixer", dim=16, depth=2, kernel_size=3, patch_size=4),
    "timm poolformer": timm_class(
        "metaformer", "MetaFormer", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), token_mixers=":Pooling"
    ),
    "timm mobilevit": timm_model("mobilevit_xxs"),
    "transformers BERT": hugging("BertModel", WORDS, **SMALL),
    "transformers BERT classifier": hugging("BertForSequenceClassification", WORDS, **SMALL),
    "transformers RoBERTa": hugging("RobertaModel", WORDS, **SMALL),
    "transformers ALBERT": hugging("AlbertModel", WORDS, embedding_size=16, **SMALL),
    "transformers DistilBERT": hugging("DistilBertModel", WORDS, dim=24, n_layers=2, n_heads=3, hidden_dim=40),
    "transformers ELECTRA": hugging("ElectraModel", WORDS, embedding_size=16, **SMALL),
    "transformers GPT-2": hugging("GPT2Model", WORDS, n_embd=24, n_layer=2, n_head=3, use_cache=False),
    "transformers T5 encoder": hugging("T5EncoderModel", WORDS, d_model=24, d_kv=8, d_ff=40, num_layers=2, num_heads=3),
    "transformers Llama": hugging("LlamaModel", WORDS, num_key_value_heads=3, use_cache=False, **SMALL),
    "transformers ViT": hugging("ViTModel", IMAGES, image_size=32, patch_size=8, **SMALL),
    "transformers AST": hugging("ASTForAudioClassification", (1, 64, 32), max_length=64, num_mel_bins=32, **SMALL),
    "transformers wav2vec 2.0": hugging("Wav2Vec2ForSequenceClassification", WAVE, classifier_proj_size=16, **SOUND),
    "transformers HuBERT": hugging("HubertModel", WAVE, **SOUND),
    "transformers WavLM": hugging("WavLMForSequenceClassification", WAVE, classifier_proj_size=16, **SOUND),
    "transformers Whisper encoder": hugging(
        "WhisperModel",
        (1, 20, 40),
        "encoder",
        num_mel_bins=20,
        d_model=24,
        encoder_layers=2,
        encoder_attention_heads=3,
        encoder_ffn_dim=40,
        max_source_positions=20,
        decoder_layers=1,
        decoder_attention_heads=3,
        decoder_ffn_dim=40,
    ),
    "transformers SegFormer": hugging(
        "SegformerModel",
        (1, 3, 32, 32),
        num_encoder_blocks=2,
        depths=[1, 1],
        hidden_sizes=[16, 24],
        sr_ratios=[4, 2],
        num_attention_heads=[2, 3],
        patch_sizes=[7, 3],
        strides=[4, 2],
        mlp_ratios=[2, 2],
    ),
    "transformers ConvNeXt": hugging("ConvNextModel", IMAGE, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1]),
    "torchaudio Conformer": audio(lambda models: WithLengths(models.Conformer(16, 4, 24, 2, 5)), (1, 20, 16)),
    "torchaudio DeepSpeech": audio(lambda models: models.DeepSpeech(10, 16, n_class=5), (1, 1, 20, 10)),
    "torchaudio wav2vec 2.0": audio(wav2vec2, WAVE),
    "torchaudio Emformer": audio(
        lambda models: WithLengths(models.Emformer(16, 4, 24, 2, 4, right_context_length=1)), (1, 20, 16)
    ),
    "torchaudio Conv-TasNet": audio(lambda models: models.ConvTasNet(2, 16, 16, 3, 8, 16, 3, 1), (1, 1, 400)),
}
