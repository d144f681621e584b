"""Find the passages that are most like a question, by vectors in a database file.

    python text_search.py "change the key of an encrypted file"

The text is this folder's neighbours: the pages of the documentation, cut at their headings. The
vectors are made here, of counted words and pieces of words; no model is asked, so what is found
has words in common with the question and not only its meaning. Vectors of a model go the same way.
"""

from __future__ import annotations

import asyncio
import math
import re
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import Iterator

DIMENSIONS = 512
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SCHEMA = f"""
CREATE TABLE passage (
    id INTEGER PRIMARY KEY,
    page TEXT NOT NULL,
    title TEXT NOT NULL,
    embedding F32_BLOB({DIMENSIONS}) NOT NULL
);
CREATE INDEX passage_nearest ON passage (libsql_vector_idx(embedding));
"""


def features(text: str) -> Counter[str]:
    """Count the words of a text, and their pieces of four letters: "keys" is almost "key"."""
    found: Counter[str] = Counter()
    for word in re.findall(r"[a-z]+", text.lower()):
        found[word] += 2
        padded = f" {word} "
        found.update(padded[i : i + 4] for i in range(len(padded) - 3))
    return found


class Embedder:
    """Makes vectors of texts. A feature counts less the more texts have it.

    Args:
        texts: Where to learn how frequent the features are.
    """

    def __init__(self, texts: list[str]) -> None:
        self._texts = len(texts)
        self._having = Counter(feature for text in texts for feature in features(text))

    def embed(self, text: str) -> list[float]:
        """Return the vector of a text: each feature has a place and a sign by its checksum."""
        vector = [0.0] * DIMENSIONS
        for feature, count in features(text).items():
            weight = math.log(count + 1) * math.log((self._texts + 1) / (self._having[feature] + 1))
            place = zlib.crc32(feature.encode())
            vector[place % DIMENSIONS] += weight if place & 0x8000_0000 else -weight
        return vector


def passages(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Cut the pages of a folder at their headings: path, heading and text."""
    for path in sorted(folder.rglob("*.md")):
        text = CODE.sub("", path.read_text(encoding="utf-8"))
        for part in re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]:
            title, _, body = part.partition("\n")
            if len(body.split()) > 20:  # noqa: PLR2004 - too short to be about something
                yield path.relative_to(folder).as_posix(), title, body


async def search(folder: Path, questions: list[str], most: int = 3) -> None:
    """Index a folder, and print what is nearest to each question."""
    found = list(passages(folder))
    embedder = Embedder([f"{title} {body}" for _, title, body in found])
    async with aiolibsql.connect(":memory:") as conn:
        await conn.executescript(SCHEMA)
        await conn.executemany(
            "INSERT INTO passage (page, title, embedding) VALUES (?, ?, ?)",
            (
                (page, title, aiolibsql.vector32(embedder.embed(f"{title} {title} {body}")))
                for page, title, body in found
            ),
        )
        await conn.commit()
        for question in questions:
            print(question)
            wanted = aiolibsql.vector32(embedder.embed(question))
            nearest = await conn.execute(
                """
                SELECT vector_distance_cos(embedding, :wanted) AS distance, page, title
                FROM vector_top_k('passage_nearest', :wanted, :most)
                JOIN passage USING (id)
                ORDER BY distance
                """,
                {"wanted": wanted, "most": most},
            )
            async for distance, page, title in nearest:
                print(f"  {distance:.2f} {page}: {title}")


if __name__ == "__main__":
    asked = sys.argv[1:] or ["change the key of an encrypted file", "database is locked"]
    asyncio.run(search(Path(__file__).resolve().parent.parent, asked))
