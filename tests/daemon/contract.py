"""The contract as a test reads it: checks answers against /openapi.json, and makes requests that fit
its schemas, or stand beside them. Knows the words of JSON Schema that imago's own schemas use, and
none else: a new one is an error here, not passed over."""
import copy
import json
import math
import re
import urllib.parse

NOTES = {"description", "default", "title", "example"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


class Contract:
    def __init__(self, spec):
        self.spec = spec
        self.operations = [(path, method.upper(), operation) for path, methods in spec["paths"].items()
                           for method, operation in methods.items()]

    def resolve(self, schema):
        while "$ref" in schema:
            assert set(schema) - NOTES == {"$ref"}, schema
            at = self.spec
            for name in schema["$ref"].removeprefix("#/").split("/"):
                at = at[name]
            schema = at
        return schema

    # ---- checking ----

    def faults(self, value, schema, place="$"):
        """What of the value the schema does not allow: a list of sentences."""
        schema = self.resolve(schema)
        found = []
        for word, wanted in schema.items():
            if word not in NOTES:
                found += getattr(self, "is_" + word.lower())(value, wanted, schema, place)
        return found

    def is_type(self, value, wanted, _, place):
        names = wanted if isinstance(wanted, list) else [wanted]
        fits = any(is_of_type(value, name) for name in names)
        return [] if fits else [f"{place}: {value!r:.60} is no {wanted}"]

    def is_required(self, value, wanted, _, place):
        return [f"{place}: '{name}' is missing" for name in wanted if isinstance(value, dict) and name not in value]

    def is_properties(self, value, wanted, _, place):
        return [fault for name, schema in wanted.items() if isinstance(value, dict) and name in value
                for fault in self.faults(value[name], schema, f"{place}.{name}")]

    def is_additionalproperties(self, value, wanted, schema, place):
        rest = [name for name in value if name not in schema.get("properties", {})] if isinstance(value, dict) else []
        if isinstance(wanted, dict):
            return [fault for name in rest for fault in self.faults(value[name], wanted, f"{place}.{name}")]
        return [] if wanted else [f"{place}: '{name}' is not described" for name in rest]

    def is_items(self, value, wanted, _, place):
        return [fault for i, one in enumerate(value if isinstance(value, list) else [])
                for fault in self.faults(one, wanted, f"{place}[{i}]")]

    def is_anyof(self, value, wanted, _, place):
        each = [self.faults(value, schema, place) for schema in wanted]
        return [] if [] in each else min(each, key=len)

    def is_oneof(self, value, wanted, _, place):
        each = [self.faults(value, schema, place) for schema in wanted]
        n = each.count([])
        return [] if n == 1 else [f"{place}: fits {n} of the forms"]

    def is_allof(self, value, wanted, _, place):
        return [fault for schema in wanted for fault in self.faults(value, schema, place)]

    def is_enum(self, value, wanted, _, place):
        return [] if value in wanted else [f"{place}: {value!r:.60} is none of {wanted}"]

    def is_const(self, value, wanted, _, place):
        return [] if value == wanted else [f"{place}: {value!r:.60} is not {wanted!r}"]

    def is_minimum(self, value, wanted, _, place):
        return [f"{place}: {value} is below {wanted}"] if is_of_type(value, "number") and value < wanted else []

    def is_maximum(self, value, wanted, _, place):
        return [f"{place}: {value} is above {wanted}"] if is_of_type(value, "number") and value > wanted else []

    def is_minlength(self, value, wanted, _, place):
        return [f"{place}: shorter than {wanted}"] if isinstance(value, str) and len(value) < wanted else []

    def is_maxlength(self, value, wanted, _, place):
        return [f"{place}: longer than {wanted}"] if isinstance(value, str) and len(value) > wanted else []

    def is_minitems(self, value, wanted, _, place):
        return [f"{place}: fewer than {wanted}"] if isinstance(value, list) and len(value) < wanted else []

    def is_maxitems(self, value, wanted, _, place):
        return [f"{place}: more than {wanted}"] if isinstance(value, list) and len(value) > wanted else []

    def is_minproperties(self, value, wanted, _, place):
        return [f"{place}: fewer than {wanted} keys"] if isinstance(value, dict) and len(value) < wanted else []

    def is_maxproperties(self, value, wanted, _, place):
        return [f"{place}: more than {wanted} keys"] if isinstance(value, dict) and len(value) > wanted else []

    def is_pattern(self, value, wanted, _, place):
        fits = not isinstance(value, str) or re.search(wanted, value)
        return [] if fits else [f"{place}: {value!r:.60} does not match {wanted}"]

    def is_format(self, value, wanted, _, place):
        assert wanted in ("binary", "byte", "date-time", "uri", "int64"), wanted
        return []

    def is_contentmediatype(self, *_):
        return []

    def is_contentencoding(self, *_):
        return []

    def answer_faults(self, operation, status, kind, body):
        """What of an answer its operation does not promise."""
        responses = operation["responses"]
        promised = responses.get(str(status), responses["default"] if status >= 400 else None)
        if promised is None:
            return [f"status {status} is not described"]
        content = promised.get("content", {})
        kind = kind.split(";")[0].strip()
        schema = content.get(kind, content.get("*/*", content.get(kind.split("/")[0] + "/*")))
        if not content and not body:
            return []
        if schema is None:
            return [f"status {status} as {kind!r} is not described"]
        if not kind.endswith("json"):
            return []
        return self.faults(json.loads(body), schema.get("schema", {}))

    # ---- making ----

    def value(self, rng, schema, depth=0):
        """A value that fits the schema; of what strings may mean inside, only a guess."""
        schema = self.resolve(schema)
        for word in ("anyOf", "oneOf"):
            if word in schema and "type" not in schema:
                return self.value(rng, rng.choice(schema[word]), depth)
        if "const" in schema or "enum" in schema:
            return schema.get("const", rng.choice(schema.get("enum", [None])))
        kind = schema.get("type", "object" if "properties" in schema else "string")
        kind = rng.choice(kind) if isinstance(kind, list) else kind
        if kind == "object":
            return self.object(rng, schema, depth)
        if kind == "array":
            least = schema.get("minItems", 0)
            n = rng.randint(least, max(least, min(schema.get("maxItems", 3), 0 if depth > 5 else 3)))
            return [self.value(rng, schema.get("items", {}), depth + 1) for _ in range(n)]
        if kind in ("integer", "number"):
            least, most = schema.get("minimum", -5), schema.get("maximum", 40)
            number = rng.choice([least, most, rng.randint(math.ceil(least), math.floor(max(least, min(most, least + 30))))])
            return number if kind == "integer" else number + 0.0
        if kind == "string":
            words = [word for word in WORDS if schema.get("minLength", 0) <= len(word) <= schema.get("maxLength", 10**6)]
            return rng.choice(words)
        return rng.choice([True, False]) if kind == "boolean" else None

    def object(self, rng, schema, depth):
        properties = schema.get("properties", {})
        required = list(schema.get("required", []))
        for word in ("anyOf", "oneOf"):
            if word in schema:
                required += rng.choice(schema[word]).get("required", [])
        rest = [name for name in properties if name not in required]
        one_of = {name for form in schema.get("oneOf", []) for name in form.get("required", [])}
        some = [name for name in rest if name not in one_of and rng.random() < (0.3 if depth < 4 else 0)]
        most = schema.get("maxProperties", 99)
        names = (required + some)[:most]
        if len(names) < schema.get("minProperties", 0) and rest:
            names = rng.sample(rest, schema["minProperties"])
        return {name: self.value(rng, properties.get(name, {}), depth + 1) for name in names}

    def beside(self, rng, value):
        """The value with something else somewhere in it."""
        if isinstance(value, dict) and value and rng.random() < 0.7:
            name = rng.choice(list(value))
            what = rng.random()
            if what < 0.2:
                return {key: one for key, one in value.items() if key != name}
            return dict(value, **{rng.choice(["x", "nope", name[:-1]]) if what < 0.4 else name:
                                  self.beside(rng, value[name])})
        if isinstance(value, list) and value and rng.random() < 0.7:
            at = rng.randrange(len(value))
            return value[:at] + [self.beside(rng, value[at])] + value[at + 1:]
        return rng.choice(STRANGE)

    def request(self, rng, operation, path):
        """An address, a Content-Type and a body of an operation; some of them beside what fits."""
        astray = rng.random() < 0.5
        query = []
        for parameter in operation.get("parameters", []):
            value = self.value(rng, parameter["schema"])
            if astray and rng.random() < 0.3:
                value = rng.choice(STRANGE_TEXTS)
            text = str(value).lower() if isinstance(value, bool) or value is None else str(value)
            text = urllib.parse.quote(text.encode("utf-8", "surrogatepass"), safe="")
            if parameter["in"] == "path":
                path = path.replace("{" + parameter["name"] + "}", text or "0")
            elif parameter["in"] == "query" and (parameter["required"] or rng.random() < 0.3):
                query.append(f"{parameter['name']}={text}")
        if astray and rng.random() < 0.2:
            query.append(rng.choice(["x=1", "q=%ff", "k=%00", "=", "&", "q=a&q=b", "%zz=1"]))
        content = operation.get("requestBody", {}).get("content", {})
        if not content:
            return path + ("?" + "&".join(query) if query else ""), None, b""
        kind = rng.choice(sorted(content))
        body = json.dumps(self.body(rng, content[kind].get("schema", {}), astray)).encode()
        if kind.startswith("multipart/"):
            kind, body = multipart(rng, body)
        if astray and rng.random() < 0.1:
            body = rng.choice([body[:-1], body + b" x", b"", b"\xff", b"[" * 70, body.replace(b":", b",", 1)])
            kind = rng.choice([kind, kind, "text/plain", "application/json", "multipart/form-data"])
        return path + ("?" + "&".join(query) if query else ""), kind, body

    def body(self, rng, schema, astray):
        value = self.value(rng, schema)
        return self.beside(rng, value) if astray else value


def multipart(rng, text):
    name = rng.choice(["query", "request", "meta", "file", "image", "entries", "text"])
    body = (b'--xyz\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n\r\n' + text +
            rng.choice([b"\r\n--xyz--\r\n", b"\r\n--xyz--\r\n", b"\r\n--xyz", b""]))
    return "multipart/form-data; boundary=xyz", body


def is_of_type(value, name):
    if name in ("integer", "number"):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and (name == "number" or float(value).is_integer())
    return isinstance(value, TYPES[name])


WORDS = ["", "red", "a red car -night", "1", "17", "type:png", "taken", "score", "width>10", "\u00fcber", "(", "\"",
         "data:image/png;base64,AAAA", "AAAA", "/nowhere/at all.png", "a/../b", "x" * 300, "f32-quick-gelu", "\u202e",
         "2024-01-02", "\x1b[31m", "%", "camera:2", "id:3", "https://example.invalid/a.png", "NaN", "null"]
STRANGE = [None, True, -1, 0, 1e300, 2**63, 2**70, 0.5, "", "a\x00b", "x" * 2000, [], {}, [[]], [None], {"a": {}}, "\ud800"]
STRANGE_TEXTS = ["", "1e3", "+1", " 1", str(2**64), "-1", "0", "nan", "a\x00b", "..", "../x", "x" * 200, "\u202e", "%2e", "true",
                 "a b", "/", "\ud800"]


def holes(value, place=()):
    """Where keys are."""
    if isinstance(value, dict):
        for key in value:
            yield place + (key,)
            yield from holes(value[key], place + (key,))
    elif isinstance(value, list) and value:
        yield from holes(value[0], place + (0,))


def without(value, place):
    value = copy.deepcopy(value)
    at = value
    for step in place[:-1]:
        at = at[step]
    del at[place[-1]]
    return value
