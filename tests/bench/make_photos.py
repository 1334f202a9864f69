#!/usr/bin/env python3
"""Photos of a camera's size for benches: make_photos.py DIR [-n 200] [--size 4000x3000] [--from FOLDER].

Needs numpy and Pillow. Each is a scene with the statistics of a photo: large soft shapes (a picture
of FOLDER enlarged, or colour fields drawn from the seed), texture whose spectrum falls as 1/f, noise of
a sensor; JPEG of quality 92 with 4:2:0 chroma, about 4 MB at 12 million pixels, with the EXIF of a
camera. The same arguments give the same files with the same versions of both libraries."""
import argparse
import pathlib

import numpy as np
from PIL import Image


def texture(rng, size):
    """Real noise of 1/f amplitude, [size, size], standard deviation 1; it tiles."""
    f = np.fft.rfft2(rng.standard_normal((size, size)).astype(np.float32))
    fy = np.fft.fftfreq(size)[:, None]
    fx = np.fft.rfftfreq(size)[None, :]
    f /= np.maximum(np.hypot(fy, fx), 1 / size)
    out = np.fft.irfft2(f, s=(size, size))
    return (out / out.std()).astype(np.float32)


def scene(rng, source, width, height):
    if source is None:
        small = Image.fromarray(rng.integers(20, 236, (9, 12, 3), dtype=np.uint8))
    else:
        with Image.open(source) as picture:
            small = picture.convert("RGB")
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def photo(rng, source, width, height, tile):
    a = scene(rng, source, width, height)
    dy, dx = rng.integers(0, tile.shape[0], 2)
    rows = np.take(tile, np.arange(dy, dy + height), 0, mode="wrap")
    grain = np.take(rows, np.arange(dx, dx + width), 1, mode="wrap") * rng.uniform(6, 22)
    grain += rng.standard_normal((height, width), dtype=np.float32) * rng.uniform(1, 4)
    grain = np.clip(np.rint(grain), -120, 120).astype(np.int16)
    return np.clip(a + grain[..., None], 0, 255).astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--size", default="4000x3000")
    parser.add_argument("--from", dest="source", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    sources = sorted(args.source.rglob("*.jpg")) if args.source else []
    rng = np.random.default_rng(args.seed)
    tile = texture(rng, 2048)
    args.dir.mkdir(parents=True, exist_ok=True)
    for i in range(args.n):
        source = sources[int(rng.integers(len(sources)))] if sources else None
        exif = Image.Exif()
        exif[0x010F], exif[0x0110] = "Camera", "Bench"
        Image.fromarray(photo(rng, source, width, height, tile)).save(
            args.dir / f"photo{i:04d}.jpg", quality=92, subsampling="4:2:0", exif=exif
        )


if __name__ == "__main__":
    main()
