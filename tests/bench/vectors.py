"""Vectors like those of an encoder, made from a seed: pictures in groups of very different size
around a common direction, with a spectrum that falls as a power; queries like texts, far from all
pictures, and like pictures. All of unit length, float32."""
import numpy as np

GROUPS = 2000


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Pictures:
    """The world the vectors come from: spectrum, common direction, groups."""

    def __init__(self, dim, seed=1):
        self.rng = np.random.default_rng(seed)
        self.dim = dim
        self.basis, _ = np.linalg.qr(self.rng.standard_normal((dim, dim)).astype(np.float32))
        self.spectrum = (np.arange(1, dim + 1) ** -0.35).astype(np.float32)
        self.spectrum /= np.sqrt((self.spectrum**2).sum())
        self.common = self.basis[0] * 0.45
        self.common[dim // 5] += 0.45  # encoders put much into single dimensions
        sizes = np.arange(1, GROUPS + 1) ** -0.8
        self.shares = sizes / sizes.sum()
        self.groups = self._spread(GROUPS)

    def _spread(self, n):
        rows = self.rng.standard_normal((n, self.dim)).astype(np.float32) * self.spectrum
        return rows @ self.basis

    def rows(self, n, block=50000):
        """n pictures."""
        out = np.empty((n, self.dim), np.float32)
        for at in range(0, n, block):
            count = min(block, n - at)
            which = self.rng.choice(GROUPS, count, p=self.shares)
            out[at:at + count] = unit(self.common + 0.45 * self.groups[which] + 0.65 * self._spread(count))
        return out

    def pictures(self, n):
        """Queries that are pictures, not of the library."""
        return self.rows(n)

    def texts(self, n, rows):
        """Queries like texts over the library `rows`: mean cosine 0.03, deviation 0.05, the best
        about 0.24 of 100,000. Most of a text lies where pictures do not differ."""
        sample = rows[:: max(1, len(rows) // 20000)]
        mean = sample.mean(0)
        direction = mean / np.linalg.norm(mean)
        out = self._spread(n)
        out -= (out @ direction)[:, None] * direction
        out = unit(out)
        spread = (sample @ out.T).std(0)
        other = unit(self.rng.standard_normal((n, self.dim)))
        other -= (other @ direction)[:, None] * direction
        noise = (sample @ other.T).std(0)
        # share of what pictures differ in, so that the deviation is 0.05
        share = np.sqrt(np.clip((0.05**2 - noise**2) / np.maximum(spread**2 - noise**2, 1e-6), 0, 1))
        out = share[:, None] * out + np.sqrt(1 - share**2)[:, None] * other
        out = unit(out) + (0.03 / np.linalg.norm(mean)) * direction
        return unit(out)


def describe(rows, queries):
    """Mean, deviation and best cosine over a sample of the library and all of it."""
    scores = queries[:50] @ rows[:: max(1, len(rows) // 100000)].T
    return {"mean": round(float(scores.mean()), 4), "deviation": round(float(scores.std(1).mean()), 4),
            "best": round(float(scores.max(1).mean()), 4)}
