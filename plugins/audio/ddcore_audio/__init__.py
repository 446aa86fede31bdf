"""Sound: folders of ``.wav`` files, log-mel spectrograms of them and the way back, sets that can be listened to."""

from ddcore import plugin as dd
from ddcore_audio.spectrum import LogMel
from ddcore_audio.wav import Wav
from ddcore_audio.waves import Waves

__all__ = ["LogMel", "Wav", "Waves"]

ddcore_api = ">=1.0,<2"


@dd.hookimpl
def ddcore_parts():
    return [LogMel, Wav, Waves]
