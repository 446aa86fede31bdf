"""Sound: files in and out, spectrograms against their formula, the way back, sets that can be listened to."""

import math
import struct
import wave

import numpy as np
import pytest
import torch
from ddcore_audio import LogMel, Wav, Waves
from ddcore_audio.wav import read_wav, write_wav

import ddcore
from ddcore import BadArtefact, BadData, Host, RecipeRefused

RATE = 8000


def tone(pitch, length=4096):
    return 0.5 * (2 * math.pi * pitch * torch.arange(length) / RATE).sin()


@pytest.fixture
def recordings(tmp_path):
    """Two classes, by the names of the files, of different lengths."""
    folder = tmp_path / "tones"
    folder.mkdir()
    for take in range(10):
        for name, pitch in (("low", 300), ("high", 1500)):
            write_wav(folder / f"{name}_{take}.wav", tone(pitch + 10 * take, 3000 + 300 * take), RATE)
    return folder


@pytest.mark.parametrize(("width", "form"), [(1, "B"), (2, "h"), (4, "i")])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_of_all_widths_are_read_as_they_were_meant(tmp_path, width, form, channels):
    path, zero, most = tmp_path / "a.wav", 128 * (width == 1), 2 ** (8 * width - 1)
    values = [zero, zero + most // 2, zero - most, zero + most - 1]
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, RATE, 0, "NONE", ""))
        file.writeframes(b"".join(struct.pack(f"<{channels}{form}", *[v] * channels) for v in values))
    found, rate = read_wav(path)
    assert rate == RATE
    torch.testing.assert_close(found, torch.tensor([0, 0.5, -1, 1]), atol=1 / 100, rtol=0)


def test_what_is_written_is_read_again(tmp_path):
    write_wav(tmp_path / "a.wav", tone(440), RATE)
    found, rate = read_wav(tmp_path / "a.wav")
    assert rate == RATE
    torch.testing.assert_close(found, tone(440), atol=1e-4, rtol=0)


@pytest.mark.parametrize("held", [b"", b"RIFF\0\0\0\0WAVE", b"no sound at all, only text"])
def test_files_that_are_no_sound_are_named(tmp_path, held):
    (tmp_path / "a_0.wav").write_bytes(held)
    with pytest.raises(BadData, match=r"a_0\.wav cannot be read as PCM"):
        Wav(str(tmp_path)).load()


def test_a_spectrogram_is_its_formula_written_slowly():
    plan, waves = LogMel(bands=5, window=64, hop=32), torch.randn(2, 320, generator=torch.Generator().manual_seed(0))
    found = plan(waves, RATE)
    assert found.shape == (2, 5, 10)
    padded = np.pad(waves.numpy().astype(np.float64), ((0, 0), (32, 32)))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)
    mel = lambda f: 2595 * np.log10(1 + f / 700)  # noqa: E731
    edges = 700 * (10 ** (np.linspace(0, mel(RATE / 2), 7) / 2595) - 1)
    for frame in range(10):
        size = np.abs(np.fft.rfft(hann * padded[:, 32 * frame : 32 * frame + 64]))
        for band in range(5):
            low, middle, high = edges[band : band + 3]
            total = np.zeros(2)
            for k, frequency in enumerate(np.linspace(0, RATE / 2, 33)):
                rising = (frequency - low) / max(middle - low, RATE / 64)
                falling = (high - frequency) / max(high - middle, RATE / 64)
                total += max(0, min(rising, falling)) * size[:, k]
            np.testing.assert_allclose(found[:, band, frame], np.log(total + 1e-5), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("pitch", [300, 1000, 2500])
def test_the_way_back_sounds_at_the_same_pitch(pitch):
    plan = LogMel()
    spectrum = plan(tone(pitch)[None], RATE)
    heard = plan.inverse(spectrum, RATE)
    assert heard.shape == (1, 4096)
    peak = float(torch.fft.rfft(heard[0]).abs().argmax()) * RATE / 4096
    assert abs(peak - pitch) < 0.1 * pitch
    loud = spectrum > spectrum.amax() - 3
    assert float((plan(heard, RATE) - spectrum)[loud].abs().mean()) < 0.5


@pytest.mark.parametrize(("fields", "sentence"), [({"hop": 300}, "leaves gaps"), ({"bands": 200}, "only 129")])
def test_spectrograms_that_cannot_be_are_refused(fields, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        LogMel(**fields)


@pytest.mark.parametrize(
    ("fields", "kind", "shape"),
    [
        ({}, "signal", (40, 31)),
        ({"items": "image"}, "image", (1, 40, 31)),
        ({"spectrum": None}, "signal", (1, 4000)),
    ],
)
def test_a_folder_is_the_kind_that_it_says(recordings, fields, kind, shape):
    plan = Wav(str(recordings), test="*_[0-2].wav", seconds=0.5, **fields)
    data = plan.load()
    assert (data.card.kind, plan.item_kind(), data.card.shape) == (kind, kind, shape)
    assert data.card.class_names == ("high", "low")
    assert (len(data.train), len(data.test)) == (14, 6)


def test_classes_are_folders_where_there_are_some(recordings):
    nested = recordings.parent / "nested"
    for path in recordings.iterdir():
        folder = nested / path.name.split("_")[0]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes())
    flat, deep = (Wav(str(root), test="*_[0-2].wav", seconds=0.5).load() for root in (recordings, nested))
    assert torch.equal(flat.train.inputs, deep.train.inputs)
    assert flat.card.class_names == deep.card.class_names


def test_folders_that_cannot_be_are_refused(recordings, tmp_path):
    with pytest.raises(BadData, match="no .wav file"):
        Wav(str(tmp_path / "none")).load()
    with pytest.raises(BadData, match=r"0 of 20 files .* are named \*\.mp3"):
        Wav(str(recordings), test="*.mp3").load()
    with pytest.raises(BadData, match="fewer than a window"):
        Wav(str(recordings), seconds=0.01).load()
    write_wav(recordings / "low_99.wav", tone(300), 16000)
    with pytest.raises(BadData, match=r"rates \[8000, 16000\]"):
        Wav(str(recordings)).load()


@pytest.mark.parametrize("items", ["signal", "image"])
def test_a_set_is_heard(recordings, tmp_path, items):
    host = Host()
    data = Wav(str(recordings), test="*_[0-2].wav", seconds=0.5, items=items).load()
    distilled = host.distill(host.recipe("random", kind=items), data)
    ddcore.export(distilled, tmp_path / "heard", Waves(rate=RATE), host=host)
    for name, pitch in (("low_0", 345), ("high_0", 1545)):
        samples, rate = read_wav(tmp_path / "heard" / f"{name}.wav")
        peak = float(torch.fft.rfft(samples).abs().argmax()) * rate / len(samples)
        assert abs(peak - pitch) < 100
    assert (tmp_path / "heard" / "spectrograms.png").stat().st_size > 1000
    with pytest.raises(BadArtefact, match="no waves"):
        ddcore.export(distilled, tmp_path / "again", Waves(rate=RATE, spectrum=None), host=host)
    assert not (tmp_path / "again").exists()
    with pytest.raises(BadArtefact, match="for listening"):
        ddcore.read_released(tmp_path / "heard", data, format=Waves(), host=host)
