"""Families of transformers models whose inputs are made in a way of their own, by model type.

What a family names here is always given; an argument that it does not name is made as `MAKER_BY_ARGUMENT`
says. Sizes in words are read from the configuration, those in figures are what its processor gives, or small where any
will do.
"""

from __future__ import annotations

import torch

from archprof.sources.hf.makers import (
    DEFAULT_SAMPLES,
    Maker,
    float_maker,
    integer_maker,
    make_grid_per_image,
    make_image_pair,
    make_patch_images,
    make_patches_per_image,
    make_sound_with_channels,
    make_spectrogram,
    make_spectrogram_mask,
    make_upright_spectrogram,
    make_video,
    mask_maker,
)

SEQUENCE_STEPS = 20
"""Steps of a trajectory or a latent sequence."""
FAMILY_TOKENS = 128


def _makers_for(types: str, **makers: Maker) -> dict[str, dict[str, Maker]]:
    return dict.fromkeys(types.split(), makers)


SPEECH_FAMILIES = {
    **_makers_for(
        "whisper qwen2_audio_encoder voxtral_encoder moss_transcribe_diarize_audio glmasr_encoder clvp "
        "voxtral_realtime_encoder voxtral_realtime",
        input_features=make_upright_spectrogram,
    ),
    **_makers_for(
        "audioflamingo3_encoder", input_features=make_upright_spectrogram, input_features_mask=make_spectrogram_mask
    ),
    **_makers_for("audio-spectrogram-transformer", input_values=make_spectrogram),
    **_makers_for(
        "dac encodec mimi mimi_encoder neucodec pe_audio pe_audio_encoder xcodec "
        "pocket_tts_audio_tokenizer pocket_tts_audio_tokenizer_encoder vibevoice_acoustic_tokenizer",
        input_values=make_sound_with_channels,
    ),
    **_makers_for("vibevoice_acoustic_tokenizer_encoder", hidden_states=float_maker(1, DEFAULT_SAMPLES)),
    **_makers_for("vibevoice_acoustic_tokenizer_decoder", hidden_states=float_maker("hidden_size", SEQUENCE_STEPS)),
    **_makers_for(
        "mimi_decoder pocket_tts_audio_tokenizer_decoder", latents=float_maker("hidden_size", SEQUENCE_STEPS)
    ),
    **_makers_for("clap", input_features=float_maker(1, 1001, 64)),
    **_makers_for(
        "fun_asr_nano_encoder", input_features=float_maker(100, "input_size"), input_features_mask=mask_maker(100)
    ),
    **_makers_for(
        "qwen3_asr_encoder", input_features=float_maker("num_mel_bins", 1000), input_features_mask=mask_maker(1000)
    ),
    **_makers_for("granite_speech5_ctc granite_speech5_encoder", input_features=float_maker(1024, 320)),
    **_makers_for("gemma3n_audio", audio_mel=float_maker(1000, 128), audio_mel_mask=mask_maker(1000, dtype=torch.bool)),
    **_makers_for("gemma4_audio", input_features=float_maker(1024, 128)),
    **_makers_for("muse_spark_audio", input_values=float_maker(16 * 6 * 5 * 4 * 8)),
    **_makers_for("pop2piano", input_features=float_maker(FAMILY_TOKENS, "d_model")),
}

VISION_FAMILIES = {
    **_makers_for("timesformer videomae vivit xclip", pixel_values=make_video),
    **_makers_for("videoprism_vision_model", pixel_values_videos=make_video),
    **_makers_for("pe_video pe_video_encoder", pixel_values_videos=float_maker(16, 3, 336, 336)),
    **_makers_for("tvp", pixel_values=float_maker(48, 3, 448, 448)),
    **_makers_for("efficientloftr lightglue superglue", pixel_values=make_image_pair),
    **_makers_for("rf_detr", pixel_values=float_maker(3, 448, 448)),
    **_makers_for("depth_pro", pixel_values=float_maker(3, 1536, 1536)),
    **_makers_for("kimi_k25_vision", pixel_values=make_patch_images),
    **_makers_for("gemma4_vision", pixel_values=float_maker(252, 768), pixel_position_ids=integer_maker(252, 2)),
    **_makers_for(
        "siglip2 siglip2_vision_model",
        pixel_values=make_patches_per_image,
        pixel_attention_mask=mask_maker(256),
        spatial_shapes=make_grid_per_image,
    ),
    **_makers_for("pix2struct", flattened_patches=float_maker(2048, 770)),
    **_makers_for(
        "seggpt",
        pixel_values=float_maker(3, 448, 448),
        prompt_pixel_values=float_maker(3, 448, 448),
        prompt_masks=float_maker(3, 448, 448),
    ),
    **_makers_for("oneformer", task_inputs=integer_maker(77, below=1000)),
    **_makers_for(
        "lxmert", visual_feats=float_maker(36, "visual_feat_dim"), visual_pos=float_maker(36, "visual_pos_dim")
    ),
    **_makers_for(
        "blip_2_qformer",
        query_embeds=float_maker(32, "hidden_size"),
        encoder_hidden_states=float_maker(257, "encoder_hidden_size"),
    ),
}

AUDIO_VIDEO_FAMILIES = {
    **_makers_for(
        "pe_audio_video pe_audio_video_encoder",
        input_values=make_sound_with_channels,
        pixel_values_videos=float_maker(16, 3, 336, 336),
    ),
}

SERIES_FAMILIES = {
    **_makers_for(
        "timesfm", past_values=float_maker(512), past_values_padding=integer_maker(512), freq=integer_maker(1, below=3)
    ),
    **_makers_for("timesfm2_5", past_values=float_maker(512)),
    **_makers_for(
        "decision_transformer",
        states=float_maker(SEQUENCE_STEPS, "state_dim"),
        actions=float_maker(SEQUENCE_STEPS, "act_dim"),
        rewards=float_maker(SEQUENCE_STEPS, 1),
        returns_to_go=float_maker(SEQUENCE_STEPS, 1),
        timesteps=integer_maker(SEQUENCE_STEPS, below="max_ep_len"),
        attention_mask=mask_maker(SEQUENCE_STEPS),
    ),
}

TEXT_FAMILIES = {
    **_makers_for("kyutai_speech_to_text", input_ids=integer_maker(FAMILY_TOKENS, 33, below=2000)),
    **_makers_for("csm", input_ids=integer_maker(FAMILY_TOKENS, 32, below="vocab_size")),
    **_makers_for("dia", decoder_input_ids=integer_maker(FAMILY_TOKENS, 9, below=1000)),
    **_makers_for("perceiver", inputs=float_maker(FAMILY_TOKENS, "d_model")),
    **_makers_for("xmod", lang_ids=integer_maker()),
}

MAKERS_BY_TYPE: dict[str, dict[str, Maker]] = {
    **SPEECH_FAMILIES,
    **VISION_FAMILIES,
    **AUDIO_VIDEO_FAMILIES,
    **SERIES_FAMILIES,
    **TEXT_FAMILIES,
}

OMITTED_ARGUMENTS = {
    "csm": ("input_values",),
    "kosmos-2": ("pixel_values",),
    "pop2piano": ("input_ids",),
    "speech-encoder-decoder": ("input_features",),
    "udop": ("pixel_values",),
}
"""Arguments that would be given, and stand for another way to use the model."""
