# SPDX-License-Identifier: BSD-2-Clause
"""What Python programs do: numbers, strings, dictionaries, objects, JSON,
regular expressions, sorting. SIZE scales each part; prints what came out."""

import hashlib
import json
import re
import sys

SIZE = int(sys.argv[1])


def nbody(steps):
    bodies = [[float(i), float(i * i % 7), 1.0 / (i + 1), 0.0, 0.0, 0.0,
               1.0 + i] for i in range(5)]
    for _ in range(steps):
        for i, a in enumerate(bodies):
            for b in bodies[i + 1:]:
                dx, dy, dz = a[0] - b[0], a[1] - b[1], a[2] - b[2]
                f = 0.001 / ((dx * dx + dy * dy + dz * dz) ** 1.5 + 0.01)
                for k, d in ((3, dx), (4, dy), (5, dz)):
                    a[k] -= d * b[6] * f
                    b[k] += d * a[6] * f
        for a in bodies:
            for k in range(3):
                a[k] += 0.001 * a[k + 3]
    return sum(a[0] for a in bodies)


def fannkuch(n):
    best = 0
    stack = [(list(range(n)), n)]
    count = 0
    while stack and count < SIZE * 200:
        order, size = stack.pop()
        if size == 1:
            count += 1
            p, flips = order[:], 0
            while p[0]:
                k = p[0] + 1
                p[:k] = p[k - 1::-1]
                flips += 1
            best = max(best, flips)
            continue
        for _ in range(size):
            stack.append((order[:], size - 1))
            order.append(order.pop(0))
    return best


def words(count):
    seen = {}
    state = 1
    for _ in range(count):
        state = (state * 1103515245 + 12345) & 0x7fffffff
        word = "w%d" % (state % 5000)
        seen[word] = seen.get(word, 0) + 1
    top = sorted(seen.items(), key=lambda item: (-item[1], item[0]))
    return " ".join(word for word, _ in top[:20])


class Node:
    def __init__(self, key):
        self.key, self.left, self.right = key, None, None

    def insert(self, key):
        node = self
        while True:
            side = "left" if key < node.key else "right"
            below = getattr(node, side)
            if below is None:
                setattr(node, side, Node(key))
                return
            node = below


def trees(count):
    root, state = Node(1 << 30), 7
    for _ in range(count):
        state = (state * 1103515245 + 12345) & 0x7fffffff
        root.insert(state)
    depth, level = 0, [root]
    while level:
        depth += 1
        level = [n for node in level for n in (node.left, node.right) if n]
    return depth


def documents(count):
    doc = {"name": "x" * 20, "list": list(range(50)),
           "map": {str(i): i * 0.5 for i in range(50)}}
    total = 0
    for i in range(count):
        doc["id"] = i
        total += len(json.loads(json.dumps(doc))["list"])
    text = json.dumps(doc) * 20
    total += len(re.findall(r'"(\d+)": (\d+\.\d+)', text))
    return total


def main():
    print("nbody %.9f" % nbody(SIZE * 200))
    print("fannkuch", fannkuch(9))
    print("words", words(SIZE * 4000))
    print("trees", trees(SIZE * 800))
    print("documents", documents(SIZE * 20))
    digest = b""
    for i in range(SIZE * 400):
        digest = hashlib.sha256(digest + str(i).encode()).digest()
    print("digest", digest.hex())


main()
