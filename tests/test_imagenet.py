"ImageNet's recipe as one command, on a folder in ImageNet's layout that is small enough to make here"

import json, os

import pytest

CELL = (
    'binreg-run --dataset imagenet --network mobilenet_v3_small --method br --w-bits 2 '
    '--a-bits 2 --pretrained --fp-epochs 0'
).split()
TINY = (
    '--epochs 2 --batch-size 4 --subset 8 --bn-batches 1 --size 64 --no-compile --no-notebook --quiet'
).split()  # the recipe, but for its length and its batch; most CPUs only emulate bfloat16, so the smallest network
SHAPES = ((300, 225), (225, 300), (500, 100), (80, 120))


@pytest.fixture(scope='module')
def imagenet(tmp_path_factory):
    "Three classes in train/ and val/, JPEGs of several shapes, gray and CMYK ones among them; and weights with 1000 classes where torchvision looks for them"
    import numpy as np, torch
    from PIL import Image

    d = tmp_path_factory.mktemp('imagenet')
    rng = np.random.default_rng(0)
    for split, n in (('train', 4), ('val', 2)):
        for k, c in enumerate(('n02119789', 'n01440764', 'n03000684')):
            (d / 'data' / split / c).mkdir(parents=True)
            for i in range(n):
                mode = {1: 'L', 2: 'CMYK'}.get(i if split == 'train' else 2 * i, 'RGB')
                im = (
                    Image.fromarray(rng.integers(0, 256, (6, 6, 3)).astype('uint8'))
                    .resize(SHAPES[(i + k) % 4])
                    .convert(mode)
                )
                im.save(d / 'data' / split / c / f'{c}_{i}.JPEG')
    (d / 'torch/hub/checkpoints').mkdir(parents=True)
    torch.manual_seed(0)
    from torchvision.models import get_model, get_model_weights

    states = {
        n: get_model(n).state_dict() for n in ('resnet18', 'mobilenet_v2', 'mobilenet_v3_small')
    }
    for n, s in states.items():
        torch.save(
            s,
            d / 'torch/hub/checkpoints' / os.path.basename(get_model_weights(n).IMAGENET1K_V1.url),
        )
    return d, states['mobilenet_v3_small']


def test_the_folder_has_every_kind(imagenet):
    from PIL import Image

    assert {Image.open(f).mode for f in (imagenet[0] / 'data').rglob('*.JPEG')} == {
        'RGB',
        'L',
        'CMYK',
    }


@pytest.fixture(scope='module')
def done(imagenet):
    "The command of the tutorial, done"
    import subprocess
    from conftest import BIN

    d, _ = imagenet
    env = {**os.environ, 'TORCH_HOME': str(d / 'torch'), 'OMP_NUM_THREADS': '1'}
    p = subprocess.run(
        [
            str(BIN / CELL[0]),
            *CELL[1:],
            '--data',
            str(d / 'data'),
            *TINY,
            '--out',
            str(d / 'runs/br'),
        ],
        cwd=d,
        capture_output=True,
        text=True,
        timeout=300,
        env=env,
    )
    assert p.returncode == 0, p.stderr
    return d / 'runs/br', p


def test_one_cell_end_to_end(done):
    out, p = done
    cfg, m = (json.loads((out / f'{k}.json').read_text()) for k in ('config', 'metrics'))
    assert m['status'] == 'ok'
    assert m['epochs_done'] == 2
    assert 0 <= m['top1'] <= 100
    assert m['mse_qe'] > 0
    assert 'top1' in p.stdout
    import pandas as pd

    h = pd.read_csv(out / 'history.csv')
    assert list(h.epoch) == [0, 1]
    assert h[['train_loss', 'valid_loss', 'reg']].notna().all().all()
    want = dict(
        precision='bf16',
        channels_last=True,
        fp_epochs=0,
        pretrained=True,
        lr=0.01,
        weight_decay=2.5e-5,
        momentum=0.9,
        size=64,
        workers=-1,
    )
    assert {k: cfg[k] for k in want} == want


def test_it_started_from_the_weights_as_they_are(done, imagenet):
    import torch
    from safetensors.torch import load_file

    [fp] = [p for p in done[0].parent.iterdir() if '-fp-' in p.name]
    m, w = json.loads((fp / 'metrics.json').read_text()), load_file(fp / 'model.safetensors')
    assert m['status'] == 'ok'
    assert m['top1'] is not None
    assert json.loads((fp / 'config.json').read_text())['epochs'] == 0
    assert all(
        torch.equal(w[k], v) for k, v in imagenet[1].items() if not k.startswith('classifier.3.')
    )
    assert w['classifier.3.weight'].shape == (3, 1024)
    q = load_file(done[0] / 'model.safetensors')
    assert not torch.equal(q['features.4.block.0.0.weight'], w['features.4.block.0.0.weight'])
    assert all(
        v.dtype == torch.float32
        for k, v in q.items()
        if k.endswith(('weight', 'step', 'running_var'))
    ), 'bf16 is for the arithmetic; what is kept is float32'


def test_labels_are_the_sorted_wordnet_numbers(imagenet):
    from binreg_nb.data import get_dls

    dls = get_dls('imagenet', imagenet[0] / 'data', bs=4, workers=0)
    assert dls.vocab == ['n01440764', 'n02119789', 'n03000684']
    assert dls.size == 224
    assert dls.one_batch()[0].shape == (4, 3, 224, 224)
    y = [int(y) for _, y in dls.valid_ds]
    assert y == [0, 0, 1, 1, 2, 2]


def test_the_recipe_is_the_papers():
    from binreg_nb.runs import RunConfig

    c = RunConfig(dataset='imagenet', pretrained=True, fp_epochs=0).resolve(names=False)
    assert (
        c.epochs,
        c.warmup_epochs,
        c.batch_size,
        c.lr,
        c.precision,
        c.channels_last,
        c.stride,
    ) == (90, 30, 256, 0.01, 'bf16', True, 0)
    fp = c.full_precision()
    assert (fp.epochs, fp.pretrained, fp.precision) == (0, True, 'bf16')
    scratch = RunConfig(dataset='imagenet', method='fp').resolve(names=False)
    assert (scratch.epochs, scratch.lr, scratch.weight_decay) == (90, 0.1, 1e-4)


def test_dry_run_lists_the_table_with_time_and_disk(cmd, imagenet):
    d, _ = imagenet

    def plan(*more):
        return cmd(
            'binreg-sweep',
            *more,
            *'--dataset imagenet --data'.split(),
            d / 'data',
            *'--pretrained --fp-epochs 0 --batch-size 4 --no-compile --out'.split(),
            d / 'planned',
            '--dry-run',
            cwd=d,
            TORCH_HOME=d / 'torch',
            OMP_NUM_THREADS='1',
        )

    p = plan('table4', '--precision', 'fp32')
    assert p.returncode == 0, p.stderr
    lines = p.stdout.splitlines()
    assert sum(l.startswith('left  imagenet-') for l in lines) == 11
    assert '11 runs, 11 left: about' in lines[-1]
    assert 'MB' in lines[-1]
    assert {l.split('-s0')[0].split('-', 1)[1] for l in lines[:-1]} == {
        f'{n}-{m}'
        for n in ('resnet18', 'mobilenet_v2', 'mobilenet_v3_small')
        for m in ('fp', 'lsq-w2a2', 'kure-w2a2', 'br-w2a2')
    } - {'mobilenet_v3_small-kure-w2a2'}
    assert not (d / 'planned').exists()
