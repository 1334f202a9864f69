"""Pictures of our own making: shapes, charts, screens, papers, textures, gradients.

Each maker takes a random.Random and draws one picture with it, so a seed fixes the picture.
"""

import colorsys
import math

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

SIDE = 256  # drawn at twice the size that is kept, which smooths the edges

COLOURS = {
    "red": (208, 40, 40),
    "green": (44, 150, 62),
    "blue": (42, 84, 190),
    "yellow": (242, 206, 50),
    "orange": (236, 130, 34),
    "purple": (128, 60, 160),
    "pink": (238, 140, 176),
    "brown": (122, 78, 44),
    "black": (24, 24, 24),
    "grey": (130, 130, 130),
    "teal": (30, 140, 140),
}
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "heart", "hexagon")
WORDS = "market river summer paper window garden letter morning ticket music coffee station".split()


def font(size):
    return ImageFont.load_default(size)


def pastel(rng):
    """A light ground colour."""
    rgb = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.0, 0.25), rng.uniform(0.85, 1.0))
    return tuple(round(255 * c) for c in rgb)


def polygon(centre, radius, corners, turn, inner=None):
    """Corners of a regular polygon, or of a star when `inner` (a share of the radius) is given."""
    points = []
    steps = corners * (2 if inner else 1)
    for i in range(steps):
        r = radius * (inner if inner and i % 2 else 1)
        angle = turn + 2 * math.pi * i / steps - math.pi / 2
        points.append((centre[0] + r * math.cos(angle), centre[1] + r * math.sin(angle)))
    return points


def draw_shape(draw, shape, centre, radius, colour, turn=0.0, width=0):
    """One shape around `centre`; `width` > 0 draws only its outline."""
    x, y = centre
    box = (x - radius, y - radius, x + radius, y + radius)
    fill, line = (None, colour) if width else (colour, None)
    if shape == "circle":
        draw.ellipse(box, fill=fill, outline=line, width=width)
    elif shape == "ring":
        draw.ellipse(box, outline=colour, width=max(4, round(radius / 3)))
    elif shape == "heart":
        t = [2 * math.pi * i / 60 for i in range(60)]
        heart = [
            (
                x + radius * math.sin(a) ** 3,
                y - radius / 17 * (13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a)),
            )
            for a in t
        ]
        draw.polygon(heart, fill=fill, outline=line, width=width or 1)
    elif shape == "cross":
        arm = radius / 3
        draw.rectangle((x - arm, y - radius, x + arm, y + radius), fill=colour)
        draw.rectangle((x - radius, y - arm, x + radius, y + arm), fill=colour)
    else:
        corners, inner = {"square": (4, None), "triangle": (3, None), "star": (5, 0.4)}.get(
            shape, (6, None)
        )
        turn += math.pi / 4 if shape == "square" else 0
        points = polygon(centre, radius, corners, turn, inner)
        draw.polygon(points, fill=fill, outline=line, width=width or 1)


def one_shape(rng):
    picture = Image.new("RGB", (SIDE, SIDE), pastel(rng))
    colour = COLOURS[rng.choice(sorted(COLOURS))]
    centre = (rng.uniform(90, 166), rng.uniform(90, 166))
    width = rng.choice((0, 0, 8))
    draw = ImageDraw.Draw(picture)
    turn = rng.uniform(-0.3, 0.3)
    draw_shape(draw, rng.choice(SHAPES), centre, rng.uniform(40, 85), colour, turn, width)
    return picture


def several_shapes(rng):
    picture = Image.new("RGB", (SIDE, SIDE), pastel(rng))
    draw = ImageDraw.Draw(picture)
    cells = [(x, y) for x in (50, 128, 206) for y in (50, 128, 206)]
    same = rng.random() < 0.4
    shape, colour = rng.choice(SHAPES), rng.choice(sorted(COLOURS))
    for centre in rng.sample(cells, rng.randint(2, 8)):
        if not same:
            shape, colour = rng.choice(SHAPES), rng.choice(sorted(COLOURS))
        draw_shape(draw, shape, centre, rng.uniform(16, 36), COLOURS[colour], rng.uniform(0, 1))
    return picture


def small_scene(rng):
    """A house, trees and a sun over a meadow."""
    picture = Image.new("RGB", (SIDE, SIDE), rng.choice([(160, 205, 240), (250, 200, 150)]))
    draw = ImageDraw.Draw(picture)
    horizon = rng.randint(140, 190)
    ground = rng.choice([(110, 170, 80), (220, 200, 140), (240, 244, 248), (60, 110, 170)])
    draw.rectangle((0, horizon, SIDE, SIDE), fill=ground)
    draw_shape(draw, "circle", (rng.randint(30, 226), rng.randint(25, 60)), 20, (250, 220, 80))
    if rng.random() < 0.7:
        x, wall = rng.randint(40, 150), COLOURS[rng.choice(sorted(COLOURS))]
        draw.rectangle((x, horizon - 50, x + 70, horizon + 20), fill=wall)
        draw.polygon(
            [(x - 10, horizon - 50), (x + 35, horizon - 90), (x + 80, horizon - 50)],
            fill=(120, 60, 50),
        )
        draw.rectangle((x + 28, horizon - 15, x + 46, horizon + 20), fill=(90, 60, 40))
    for _ in range(rng.randint(0, 4)):
        x, y = rng.randint(10, 246), rng.randint(horizon, horizon + 40)
        draw.rectangle((x - 4, y - 25, x + 4, y), fill=(100, 70, 40))
        draw_shape(draw, rng.choice(["circle", "triangle"]), (x, y - 42), 24, (40, 120, 60))
    return picture


def bar_chart(rng):
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(picture)
    draw.text(
        (40, 8), "%s %d" % (rng.choice(WORDS), rng.randint(1990, 2030)), fill="black", font=font(18)
    )
    count, colour = rng.randint(3, 9), COLOURS[rng.choice(sorted(COLOURS))]
    step = 200 / count
    for i in range(count):
        height = rng.uniform(20, 180)
        x = 36 + i * step
        draw.rectangle((x, 230 - height, x + 0.7 * step, 230), fill=colour)
    draw.line([(32, 36), (32, 230), (246, 230)], fill="black", width=2)
    return picture


def line_chart(rng):
    picture = Image.new("RGB", (SIDE, 192), "white")
    draw = ImageDraw.Draw(picture)
    for y in range(20, 180, 32):
        draw.line([(24, y), (248, y)], fill=(220, 220, 220))
    for name in rng.sample(sorted(COLOURS), rng.randint(1, 3)):
        y, points = rng.uniform(60, 140), []
        for x in range(24, 249, 8):
            y = min(176, max(16, y + rng.uniform(-16, 16)))
            points.append((x, y))
        draw.line(points, fill=COLOURS[name], width=3)
    draw.line([(24, 12), (24, 180), (248, 180)], fill="black", width=2)
    return picture


def pie_chart(rng):
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(picture)
    start = 0.0
    names = rng.sample(sorted(COLOURS), rng.randint(3, 6))
    shares = [rng.uniform(1, 4) for _ in names]
    for name, share in zip(names, shares):
        end = start + 360 * share / sum(shares)
        draw.pieslice((28, 28, 228, 228), start, end, fill=COLOURS[name], outline="white", width=2)
        start = end
    return picture


def screen(rng):
    """A window with a title bar, a side list and lines of text or boxes."""
    dark = rng.random() < 0.4
    ground, ink = ((30, 32, 38), (210, 214, 220)) if dark else ((250, 250, 250), (40, 40, 40))
    picture = Image.new("RGB", (SIDE, 176), ground)
    draw = ImageDraw.Draw(picture)
    accent = COLOURS[rng.choice(sorted(COLOURS))]
    draw.rectangle((0, 0, SIDE, 18), fill=accent)
    draw.text((8, 2), rng.choice(WORDS).title(), fill="white", font=font(12))
    side = rng.choice((0, 60))
    if side:
        draw.rectangle((0, 18, side, 176), fill=tuple(c * 9 // 10 for c in ground))
        for y in range(28, 170, 16):
            draw.text((6, y), rng.choice(WORDS), fill=ink, font=font(10))
    if rng.random() < 0.5:
        for y in range(26, 170, 12):
            draw.rectangle((side + 8, y, side + 8 + rng.randint(40, 230 - side), y + 4), fill=ink)
    else:
        for y in range(28, 160, 50):
            for x in range(side + 8, 230, 50):
                draw.rectangle((x, y, x + 40, y + 38), fill=COLOURS[rng.choice(sorted(COLOURS))])
    return picture


def page(rng):
    """A sheet of printed words, or a note in large letters."""
    picture = Image.new("RGB", (192, SIDE), rng.choice([(255, 255, 255), (246, 238, 220)]))
    draw = ImageDraw.Draw(picture)
    if rng.random() < 0.6:
        draw.text((20, 16), rng.choice(WORDS).upper(), fill="black", font=font(20))
        for y in range(48, 240, 13):
            line = " ".join(rng.choice(WORDS) for _ in range(4))
            draw.text((20, y), line[:24], fill=(50, 50, 50), font=font(11))
    else:
        for y in range(40, 220, 56):
            colour = COLOURS[rng.choice(sorted(COLOURS))]
            draw.text((16, y), rng.choice(WORDS), fill=colour, font=font(36))
    return picture


def gradient(rng):
    a, b = (
        Image.new("RGB", (SIDE, SIDE), pick) for pick in (random_colour(rng), random_colour(rng))
    )
    ramp = rng.choice((Image.linear_gradient("L"), Image.radial_gradient("L")))
    return Image.composite(a, b, ramp.rotate(rng.choice((0, 90, 180, 270))))


def random_colour(rng):
    return tuple(rng.randrange(256) for _ in range(3))


def noise(rng, size):
    """Grey noise from the generator itself, so that it is the same everywhere."""
    return Image.frombytes("L", size, rng.randbytes(size[0] * size[1]))


def texture(rng):
    """Blurred noise between two colours: cloth, stone, clouds, according to its grain."""
    grain = rng.choice((16, 32, 64, 128))
    stretch = rng.choice(((1, 1), (1, 8), (8, 1)))
    field = noise(rng, (max(2, grain // stretch[0]), max(2, grain // stretch[1])))
    field = field.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    fine = noise(rng, (SIDE, SIDE)).filter(ImageFilter.GaussianBlur(1))
    field = ImageChops.blend(field, fine, rng.uniform(0.1, 0.5))
    a, b = (Image.new("RGB", (SIDE, SIDE), random_colour(rng)) for _ in range(2))
    return Image.composite(a, b, field)


def pattern(rng):
    """Stripes, checks or dots."""
    picture = Image.new("RGB", (SIDE, SIDE), random_colour(rng))
    draw = ImageDraw.Draw(picture)
    colour, step = random_colour(rng), rng.choice((16, 24, 32, 48))
    kind = rng.choice(("stripes", "checks", "dots", "waves"))
    for i in range(0, SIDE, step):
        if kind == "stripes":
            draw.rectangle((i, 0, i + step // 2, SIDE), fill=colour)
        elif kind == "waves":
            wave = [(x, i + step / 3 * math.sin(x / step * 2)) for x in range(0, SIDE + 1, 4)]
            draw.line(wave, fill=colour, width=step // 4)
        for j in range(0, SIDE, step):
            if kind == "checks" and (i // step + j // step) % 2:
                draw.rectangle((i, j, i + step - 1, j + step - 1), fill=colour)
            elif kind == "dots":
                draw_shape(draw, "circle", (i + step / 2, j + step / 2), step / 4, colour)
    return picture.rotate(rng.choice((0, 0, 90)))


MAKERS = {
    "one shape": one_shape,
    "several shapes": several_shapes,
    "small scene": small_scene,
    "bar chart": bar_chart,
    "line chart": line_chart,
    "pie chart": pie_chart,
    "screen": screen,
    "page": page,
    "gradient": gradient,
    "texture": texture,
    "pattern": pattern,
}
