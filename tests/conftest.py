import os, subprocess, sys
from pathlib import Path

import pytest

os.environ['CUDA_VISIBLE_DEVICES'] = ''  # the same tests on every machine
if 'PYTEST_XDIST_WORKER' in os.environ:
    os.environ.setdefault('OMP_NUM_THREADS', '1')  # two processes share the cores

# Minutes each: begun first, so that no process is left with one of them in the end
LONG = 'commands resume reproduce engine imagenet tools distributed properties export'.split()
ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def pytest_collection_modifyitems(items):
    "The long files first, the others as they come"
    rank = {f'test_{name}': i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))


@pytest.fixture(autouse=True)
def seed():
    "A test trains the same network whatever ran before it, and passes or fails every time"
    import random
    import numpy, torch

    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def root():
    return ROOT


@pytest.fixture
def cmd():
    "Run an installed command in a folder; returns the finished process"

    def go(*args, cwd, timeout=300, **env):
        return subprocess.run(
            [str(BIN / args[0]), *map(str, args[1:])],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, 'PATH': f'{BIN}:{os.environ["PATH"]}', **env},
        )

    return go


@pytest.fixture(scope='session')
def images(tmp_path_factory):
    "An image folder of two classes, 8 training and 4 validation images each, 16x16"
    import numpy as np
    from PIL import Image

    d = tmp_path_factory.mktemp('images')
    rng = np.random.default_rng(0)
    for split, n in (('train', 40), ('valid', 10)):
        for k, c in enumerate(('dark', 'light')):
            (d / split / c).mkdir(parents=True)
            for i in range(n):
                Image.fromarray((rng.random((16, 16, 3)) * 127 + 128 * k).astype('uint8')).save(
                    d / split / c / f'{i}.png'
                )
    return d
