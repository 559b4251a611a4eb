import pathlib

import numpy as np
import soundfile

RATE = 8000
def sound(kind, rng, n, rate=RATE):
    time = np.arange(n) / rate
    return 0.1 * rng.standard_normal(n) + {"OK": 0, "NG": 0.06 * np.sin(2 * np.pi * 1000 * time), "hum": 0.1 * np.sin(2 * np.pi * 300 * time)}[kind]
for number, kind in enumerate(["OK", "NG", "hum"]):
    rng = np.random.default_rng(number)
    folder = pathlib.Path("recordings", kind); folder.mkdir(parents=True)
    for k in range(16):
        soundfile.write(folder / f"machine_{k}.wav", sound(kind, rng, 700 + 15 * k), RATE, "PCM_16")
rng = np.random.default_rng(3)
soundfile.write("stereo.wav", np.stack([sound("OK", rng, 3000, 11025), sound("NG", rng, 3000, 11025)], 1), 11025, "PCM_16")
