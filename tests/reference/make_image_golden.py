#!/usr/bin/env python3
"""Makes tests/golden/image/: small pictures, and what Pillow and transformers make of them.

    python3 tests/reference/make_image_golden.py [--check-transformers]

Needs numpy and Pillow; the versions used are written to tests/golden/image/VERSIONS. Everything is
drawn from seed 20240607, so that a second run gives the same inputs.

  pictures/*.jpg, *.png   inputs
  pictures.tsv            file, width, height, offset into pictures.rgb, tolerance
  pictures.rgb            expected pixels: Image.convert("RGB"), after ImageOps.exif_transpose.
                          Two stated exceptions: alpha is composed over white, 16-bit grey is scaled.
                          Where Pillow cannot say (palette index beyond the palette, 16-bit grey,
                          tRNS of 16 or fewer than 8 bits) the arithmetic is written out here.
  resize.tsv, resize.rgb  Image.resize(BICUBIC, box=...) of pictures
  prepare.tsv, .rgb       shorter side to S, truncated long side, centre crop, as transformers'
                          PIL-based CLIP image processor does. Checked against transformers 5.24.0
                          (CLIPImageProcessorPil, do_rescale and do_normalize off) with
                          --check-transformers: equal in all cases.
"""

import argparse
import io
import math
import pathlib
import struct
import sys
import zlib

import numpy as np
import PIL
from PIL import Image, ImageOps, features

SEED = 20240607
ROOT = pathlib.Path(__file__).resolve().parents[1] / "golden" / "image"
rng = np.random.default_rng(SEED)


# ---------------------------------------------------------------- scenes


def scene(width, height):
    """A smooth picture with an edge and some noise, [height, width, 3] uint8."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    r = 128 + 100 * np.sin(x / 7.0) * np.cos(y / 9.0)
    g = 255 * x / width
    b = 255 * y / height
    a = np.stack([r, g, b], -1)
    a[height // 4 : height // 2, width // 3 : width // 2] = (240, 30, 60)
    a += rng.normal(0, 4, a.shape)
    return a.clip(0, 255).astype(np.uint8)


# ---------------------------------------------------------------- PNG, written here byte by byte


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def pack_rows(samples, depth):
    """[h, w, c] integers to filtered rows; filters alternate among None, Sub and Up."""
    h, w, c = samples.shape
    rows = []
    for row in samples.reshape(h, w * c):
        if depth == 16:
            rows.append(row.astype(">u2").tobytes())
        elif depth == 8:
            rows.append(row.astype(np.uint8).tobytes())
        else:
            bits = ((row[:, None] >> np.arange(depth - 1, -1, -1)) & 1).reshape(-1).astype(np.uint8)
            rows.append(np.packbits(bits).tobytes())
    step = max(1, c * depth // 8)
    out, before = b"", np.zeros(len(rows[0]) if rows else 0, np.uint8)
    for i, raw in enumerate(rows):
        line = np.frombuffer(raw, np.uint8)
        kind = i % 3
        if kind == 0:
            coded = line
        elif kind == 1:
            coded = line - np.concatenate([np.zeros(step, np.uint8), line[:-step]])[: len(line)]
        else:
            coded = line - before
        out += bytes([kind]) + coded.tobytes()
        before = line
    return out


def png(samples, color_type, depth, interlaced=False, extra=()):
    h, w, _ = samples.shape
    if interlaced:
        raw = b"".join(
            pack_rows(samples[y0::dy, x0::dx], depth)
            for x0, y0, dx, dy in PASSES
            if samples[y0::dy, x0::dx].size
        )
    else:
        raw = pack_rows(samples, depth)
    ihdr = struct.pack(">IIBBBBB", w, h, depth, color_type, 0, 0, int(interlaced))
    body = b"".join(chunk(k, d) for k, d in extra)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + body + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")
    )


def over_white(value, alpha):
    value, alpha = value.astype(int), alpha.astype(int)
    return ((value * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def png_expected(samples, color_type, depth, palette=None, trns=None):
    """The pixels that the rules at the top ask for."""
    top = (1 << depth) - 1
    s = samples.astype(int)
    alpha = None
    if color_type == 3:
        full = np.zeros((256, 3), int)
        full[: len(palette)] = palette
        rgb = full[s[..., 0]]
        if trns is not None:
            a = np.full(256, 255)
            a[: len(trns)] = list(trns)
            alpha = a[s[..., 0]]
    else:
        if depth < 8:
            v = s * 255 // top
        elif depth == 16:
            v = (s * 255 + 32895) >> 16 if color_type == 0 else s >> 8
        else:
            v = s
        if color_type in (4, 6):
            alpha = v[..., -1]
            v = v[..., :-1]
        elif trns is not None:
            key = np.frombuffer(trns, ">u2").astype(int)
            alpha = np.where((s == key).all(-1), 0, 255)
        rgb = np.repeat(v, 3, -1) if v.shape[-1] == 1 else v
    return rgb.astype(np.uint8) if alpha is None else over_white(rgb, alpha[..., None])


def png_cases():
    w, h = 19, 13
    base = scene(w, h)
    grey = base.mean(-1).astype(np.uint8)[..., None]
    ramp = np.tile(np.linspace(0, 255, w).astype(np.uint8), (h, 1))[..., None]
    for color_type, depths in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16))):
        for depth in depths:
            top = (1 << depth) - 1
            n = CHANNELS[color_type]
            pal = None
            if color_type == 3:
                pal = rng.integers(0, 256, (min(top + 1, 200), 3))
                samples = rng.integers(0, len(pal), (h, w, 1))
            else:
                color = base if n >= 3 else grey
                samples = np.concatenate([color, ramp], -1) if n in (2, 4) else color
                samples = samples.astype(int)
                if depth == 16:
                    samples = samples * 257 + rng.integers(-100, 100, samples.shape)
                    samples = samples.clip(0, 65535)
                elif depth < 8:
                    samples = samples >> (8 - depth)
            trns = [None]
            if color_type == 0:
                trns.append(struct.pack(">H", int(samples[0, 0, 0])))
            if color_type == 2:
                trns.append(struct.pack(">HHH", *(int(v) for v in samples[0, 0])))
            if color_type == 3:
                trns.append(bytes(int(v) for v in rng.integers(0, 256, len(pal) // 2 + 1)))
            for t in trns:
                for interlaced in (False, True):
                    extra = []
                    if interlaced:
                        extra.append((b"gAMA", struct.pack(">I", 10000)))  # 0.1: to be ignored
                    if pal is not None:
                        extra.append((b"PLTE", bytes(pal.astype(np.uint8).reshape(-1))))
                    if t is not None:
                        extra.append((b"tRNS", t))
                    name = f"png_{color_type}_{depth:02d}{'_trns' if t else ''}{'_adam7' if interlaced else ''}.png"
                    data = png(samples, color_type, depth, interlaced, extra)
                    want = png_expected(samples, color_type, depth, pal, t)
                    check_with_pillow(name, data, want, color_type, depth, t)
                    yield name, data, want, 0
    beyond = rng.integers(0, 16, (h, w, 1))
    pal = rng.integers(1, 256, (9, 3))
    data = png(beyond, 3, 4, False, [(b"PLTE", bytes(pal.astype(np.uint8).reshape(-1)))])
    yield "png_palette_beyond.png", data, png_expected(beyond, 3, 4, pal), 0
    for size in ((1, 1), (1, 37), (37, 1), (2, 2)):
        a = rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
        for interlaced in (False, True):
            tail = "_adam7" if interlaced else ""
            yield f"png_side_{size[0]}x{size[1]}{tail}.png", png(a.astype(int), 2, 8, interlaced), a, 0


def check_with_pillow(name, data, want, color_type, depth, trns):
    """Where Pillow has an opinion it must be ours."""
    image = Image.open(io.BytesIO(data))
    if depth == 16 and (color_type == 0 or trns is not None):
        return
    if color_type == 0 and depth < 8 and trns is not None:
        return  # Pillow compares the scaled sample with the unscaled key
    if color_type in (4, 6) or trns is not None:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        got, limit = np.asarray(white.convert("RGB")), 1
    else:
        got, limit = np.asarray(image.convert("RGB")), 0
    worst = np.abs(got.astype(int) - want.astype(int)).max()
    assert worst <= limit, (name, worst)


# ---------------------------------------------------------------- JPEG


def jpeg(array, **options):
    out = io.BytesIO()
    mode = options.pop("mode", None)
    image = Image.fromarray(array, mode) if mode else Image.fromarray(array)
    image.save(out, "JPEG", quality=options.pop("quality", 85), **options)
    return out.getvalue()


def without_app14(data):
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0] :]


def with_transform(data, transform):
    """Sets the transform byte of the Adobe marker (0 none, 1 YCC, 2 YCCK)."""
    at = data.index(b"Adobe") + 11
    return data[:at] + bytes([transform]) + data[at + 1 :]


def with_adobe(data, transform):
    body = b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform)
    return data[:2] + b"\xff\xee" + struct.pack(">H", len(body) + 2) + body + data[2:]


def with_exif_orientation(data, orientation, big=False):
    e = ">" if big else "<"
    tiff = (b"MM" if big else b"II") + struct.pack(e + "HI", 42, 8)
    tiff += struct.pack(e + "HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def without_app0(data):
    at = data.index(b"\xff\xe0")
    return data[:at] + data[at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0] :]


def jpeg_cases():
    a = scene(61, 45)
    grey = np.asarray(Image.fromarray(a).convert("L"))
    cmyk = np.asarray(Image.fromarray(a).convert("CMYK")).copy()
    cmyk[..., 3] = rng.integers(0, 90, cmyk.shape[:2])
    cmyk = np.asarray(Image.fromarray(cmyk, "CMYK").resize((61, 45), Image.BOX))
    cases = {
        "jpeg_420.jpg": jpeg(a, subsampling=2),
        "jpeg_422.jpg": jpeg(a, subsampling=1),
        "jpeg_444.jpg": jpeg(a, subsampling=0),
        "jpeg_progressive_420.jpg": jpeg(a, subsampling=2, progressive=True),
        "jpeg_progressive_444.jpg": jpeg(a, subsampling=0, progressive=True),
        "jpeg_restart.jpg": jpeg(a, subsampling=2, restart_marker_rows=1),
        "jpeg_grey.jpg": jpeg(grey),
        "jpeg_grey_progressive.jpg": jpeg(grey, progressive=True),
        "jpeg_cmyk_adobe.jpg": jpeg(cmyk, mode="CMYK"),
        "jpeg_cmyk_plain.jpg": without_app14(jpeg(cmyk, mode="CMYK")),
        "jpeg_ycck.jpg": with_transform(jpeg(cmyk, mode="CMYK"), 2),
        "jpeg_cmyk_progressive.jpg": jpeg(cmyk, mode="CMYK", progressive=True),
        "jpeg_rgb_adobe0.jpg": with_adobe(without_app0(jpeg(a, subsampling=0)), 0),
        "jpeg_rgb_ids.jpg": jpeg(a, keep_rgb=True),
        "jpeg_1x1.jpg": jpeg(a[:1, :1]),
        "jpeg_1x61.jpg": jpeg(np.ascontiguousarray(a.transpose(1, 0, 2)[:, :1])),
    }
    for orientation in range(1, 9):
        cases[f"jpeg_orientation_{orientation}.jpg"] = with_exif_orientation(
            jpeg(a[:32, :48], subsampling=0), orientation, big=orientation % 2 == 0
        )
    for name, data in cases.items():
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        # other builds of libjpeg-turbo may round one way or the other
        yield name, data, np.asarray(image.convert("RGB")), 2


# ---------------------------------------------------------------- resize, prepare

RESIZES = [  # picture, box (None: all), output
    ("noise_160x120.png", None, (40, 30)),
    ("noise_160x120.png", None, (224, 168)),
    ("noise_160x120.png", None, (37, 120)),
    ("noise_160x120.png", None, (160, 11)),
    ("noise_160x120.png", None, (160, 120)),
    ("noise_160x120.png", None, (1, 1)),
    ("noise_160x120.png", None, (3, 200)),
    ("noise_160x120.png", (10, 20, 110, 95), (50, 50)),
    ("noise_160x120.png", (3.25, 4.5, 150.75, 101.125), (64, 64)),
    ("noise_160x120.png", (159, 119, 160, 120), (5, 5)),
    ("noise_160x120.png", (0.3, 0.7, 1.9, 2.2), (7, 9)),
    ("scene_97x61.png", None, (48, 30)),
    ("scene_97x61.png", None, (96, 60)),
    ("scene_97x61.png", None, (291, 183)),
    ("png_side_1x1.png", None, (6, 4)),
    ("png_side_1x37.png", None, (2, 5)),
]

PREPARES = [  # picture, shortest, crop w, crop h, resample
    ("noise_160x120.png", 32, 32, 32, 3),
    ("noise_160x120.png", 33, 32, 32, 3),
    ("noise_160x120.png", 48, 32, 32, 3),
    ("noise_160x120.png", 32, 32, 32, 2),
    ("noise_160x120.png", 32, 32, 32, 1),
    ("noise_160x120.png", 20, 32, 32, 3),
    ("noise_160x120.png", 21, 32, 31, 3),
    ("noise_160x120.png", 0, 32, 24, 3),
    ("scene_97x61.png", 64, 64, 64, 3),
    ("scene_97x61.png", 59, 59, 59, 3),
    ("scene_97x61.png", 100, 80, 80, 2),
    ("tall_31x200.png", 32, 32, 32, 3),
    ("tall_31x200.png", 31, 31, 31, 3),
    ("png_side_1x37.png", 24, 24, 24, 3),
    ("png_side_37x1.png", 24, 24, 24, 3),
    ("png_side_2x2.png", 24, 24, 24, 3),
]


def extra_pictures():
    yield "noise_160x120.png", rng.integers(0, 256, (120, 160, 3)).astype(np.uint8)
    yield "scene_97x61.png", scene(97, 61)
    yield "tall_31x200.png", scene(31, 200)


def prepare(image, shortest, crop_w, crop_h, resample):
    w, h = image.size
    if shortest == 0:
        return np.asarray(image.resize((crop_w, crop_h), resample))
    long = int(shortest * max(w, h) / min(w, h))
    size = (shortest, long) if w <= h else (long, shortest)
    a = np.asarray(image.resize(size, resample))
    h, w = a.shape[:2]
    padded = np.zeros((max(h, crop_h), max(w, crop_w), 3), np.uint8)
    top, left = math.ceil((padded.shape[0] - h) / 2), math.ceil((padded.shape[1] - w) / 2)
    padded[top : top + h, left : left + w] = a
    top += (h - crop_h) // 2
    left += (w - crop_w) // 2
    return padded[max(0, top) :, max(0, left) :][:crop_h, :crop_w]


def check_transformers(pictures):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    for name, shortest, crop_w, crop_h, resample in PREPARES:
        if shortest == 0:
            size = {"height": crop_h, "width": crop_w}
        else:
            size = {"shortest_edge": shortest}
        processor = CLIPImageProcessorPil(
            size=size,
            crop_size={"height": crop_h, "width": crop_w},
            resample=resample,
            do_rescale=False,
            do_normalize=False,
        )
        got = np.asarray(processor(pictures[name], return_tensors="np")["pixel_values"][0]).transpose(1, 2, 0)
        worst = np.abs(got.astype(int) - prepare(pictures[name], shortest, crop_w, crop_h, resample).astype(int)).max()
        print(f"transformers, {name} to {shortest}, crop {crop_w}x{crop_h}, filter {resample}: {worst}")
        assert worst == 0


def write_table(name, rows, blobs):
    (ROOT / f"{name}.tsv").write_text("".join("\t".join(str(v) for v in row) + "\n" for row in rows))
    (ROOT / f"{name}.rgb").write_bytes(b"".join(blobs))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check-transformers", action="store_true")
    options = parser.parse_args()
    folder = ROOT / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    pictures, rows, blobs, offset = {}, [], [], 0
    cases = list(jpeg_cases()) + list(png_cases())
    cases += [(n, png(a.astype(int), 2, 8), a, 0) for n, a in extra_pictures()]
    for name, data, want, tolerance in cases:
        (folder / name).write_bytes(data)
        blob = np.ascontiguousarray(want).tobytes()
        rows.append((name, want.shape[1], want.shape[0], offset, tolerance))
        blobs.append(blob)
        offset += len(blob)
        pictures[name] = Image.fromarray(np.ascontiguousarray(want))
    write_table("pictures", rows, blobs)

    rows, blobs, offset = [], [], 0
    for name, box, size in RESIZES:
        image = pictures[name]
        box = box or (0, 0, *image.size)
        blob = image.resize(size, Image.BICUBIC, box=box).tobytes()
        rows.append((name, box[0], box[1], box[2] - box[0], box[3] - box[1], *size, offset))
        blobs.append(blob)
        offset += len(blob)
    write_table("resize", rows, blobs)

    rows, blobs, offset = [], [], 0
    for case in PREPARES:
        blob = np.ascontiguousarray(prepare(pictures[case[0]], *case[1:])).tobytes()
        rows.append((*case, offset))
        blobs.append(blob)
        offset += len(blob)
    write_table("prepare", rows, blobs)
    if options.check_transformers:
        check_transformers(pictures)
    versions = f"python {sys.version.split()[0]}\nnumpy {np.__version__}\nPillow {PIL.__version__}\n"
    versions += f"libjpeg-turbo in Pillow {features.version('libjpeg_turbo')}\nseed {SEED}\n"
    (ROOT / "VERSIONS").write_text(versions)


if __name__ == "__main__":
    main()
