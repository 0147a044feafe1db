"""Families of transformers models whose inputs are made in a way of their own, by model type.

What a family names here is always given; an argument that it does not name is made as in `makers.MAKERS`. Sizes in
words are read from the configuration, those in figures are what its processor gives, or small where any will do.
"""

from __future__ import annotations

import torch

from archprof.sources.hf.makers import (
    SOUND,
    Maker,
    clip,
    floats,
    grid_of_each,
    integers,
    ones,
    pair_of_images,
    patches_in_place,
    patches_of_each,
    sound_with_channels,
    spectrogram,
    spectrogram_mask,
    spectrogram_upright,
)

STEPS = 20
"""Steps of a trajectory or a latent sequence."""
TOKENS = 128


def _for(types: str, **makers: Maker) -> dict[str, dict[str, Maker]]:
    return dict.fromkeys(types.split(), makers)


SPEECH = {
    **_for(
        "whisper qwen2_audio_encoder voxtral_encoder moss_transcribe_diarize_audio glmasr_encoder clvp "
        "voxtral_realtime_encoder voxtral_realtime",
        input_features=spectrogram_upright,
    ),
    **_for("audioflamingo3_encoder", input_features=spectrogram_upright, input_features_mask=spectrogram_mask),
    **_for("audio-spectrogram-transformer", input_values=spectrogram),
    **_for(
        "dac encodec mimi mimi_encoder neucodec pe_audio pe_audio_encoder xcodec "
        "pocket_tts_audio_tokenizer pocket_tts_audio_tokenizer_encoder vibevoice_acoustic_tokenizer",
        input_values=sound_with_channels,
    ),
    **_for("vibevoice_acoustic_tokenizer_encoder", hidden_states=floats(1, SOUND)),
    **_for("vibevoice_acoustic_tokenizer_decoder", hidden_states=floats("hidden_size", STEPS)),
    **_for("mimi_decoder pocket_tts_audio_tokenizer_decoder", latents=floats("hidden_size", STEPS)),
    **_for("clap", input_features=floats(1, 1001, 64)),
    **_for("fun_asr_nano_encoder", input_features=floats(100, "input_size"), input_features_mask=ones(100)),
    **_for("qwen3_asr_encoder", input_features=floats("num_mel_bins", 1000), input_features_mask=ones(1000)),
    **_for("granite_speech5_ctc granite_speech5_encoder", input_features=floats(1024, 320)),
    **_for("gemma3n_audio", audio_mel=floats(1000, 128), audio_mel_mask=ones(1000, dtype=torch.bool)),
    **_for("gemma4_audio", input_features=floats(1024, 128)),
    **_for("muse_spark_audio", input_values=floats(16 * 6 * 5 * 4 * 8)),
    **_for("pop2piano", input_features=floats(TOKENS, "d_model")),
}

SIGHT = {
    **_for("timesformer videomae vivit xclip", pixel_values=clip),
    **_for("videoprism_vision_model", pixel_values_videos=clip),
    **_for("pe_video pe_video_encoder", pixel_values_videos=floats(16, 3, 336, 336)),
    **_for("tvp", pixel_values=floats(48, 3, 448, 448)),
    **_for("efficientloftr lightglue superglue", pixel_values=pair_of_images),
    **_for("rf_detr", pixel_values=floats(3, 448, 448)),
    **_for("depth_pro", pixel_values=floats(3, 1536, 1536)),
    **_for("kimi_k25_vision", pixel_values=patches_in_place),
    **_for("gemma4_vision", pixel_values=floats(252, 768), pixel_position_ids=integers(252, 2)),
    **_for(
        "siglip2 siglip2_vision_model",
        pixel_values=patches_of_each,
        pixel_attention_mask=ones(256),
        spatial_shapes=grid_of_each,
    ),
    **_for("pix2struct", flattened_patches=floats(2048, 770)),
    **_for(
        "seggpt",
        pixel_values=floats(3, 448, 448),
        prompt_pixel_values=floats(3, 448, 448),
        prompt_masks=floats(3, 448, 448),
    ),
    **_for("oneformer", task_inputs=integers(77, below=1000)),
    **_for("lxmert", visual_feats=floats(36, "visual_feat_dim"), visual_pos=floats(36, "visual_pos_dim")),
    **_for(
        "blip_2_qformer",
        query_embeds=floats(32, "hidden_size"),
        encoder_hidden_states=floats(257, "encoder_hidden_size"),
    ),
}

BOTH = {
    **_for(
        "pe_audio_video pe_audio_video_encoder",
        input_values=sound_with_channels,
        pixel_values_videos=floats(16, 3, 336, 336),
    ),
}

SERIES = {
    **_for("timesfm", past_values=floats(512), past_values_padding=integers(512), freq=integers(1, below=3)),
    **_for("timesfm2_5", past_values=floats(512)),
    **_for(
        "decision_transformer",
        states=floats(STEPS, "state_dim"),
        actions=floats(STEPS, "act_dim"),
        rewards=floats(STEPS, 1),
        returns_to_go=floats(STEPS, 1),
        timesteps=integers(STEPS, below="max_ep_len"),
        attention_mask=ones(STEPS),
    ),
}

TEXT = {
    **_for("kyutai_speech_to_text", input_ids=integers(TOKENS, 33, below=2000)),
    **_for("csm", input_ids=integers(TOKENS, 32, below="vocab_size")),
    **_for("dia", decoder_input_ids=integers(TOKENS, 9, below=1000)),
    **_for("perceiver", inputs=floats(TOKENS, "d_model")),
    **_for("xmod", lang_ids=integers()),
}

FAMILIES: dict[str, dict[str, Maker]] = {**SPEECH, **SIGHT, **BOTH, **SERIES, **TEXT}

LEFT_OUT = {
    "csm": ("input_values",),
    "kosmos-2": ("pixel_values",),
    "pop2piano": ("input_ids",),
    "speech-encoder-decoder": ("input_features",),
    "udop": ("pixel_values",),
}
"""Arguments that would be given, and stand for another way to use the model."""
