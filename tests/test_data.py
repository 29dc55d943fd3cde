"Every dataset is at home in fastai: a picture in, a class out; and a bad file is one line"

import os

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def learner(dls):
    from fastai.learner import Learner
    import fastai.callback.progress
    from torch import nn

    net = nn.Sequential(
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * dls.in_channels, dls.c)
    )
    return Learner(dls, net)


@pytest.mark.parametrize('size', [0, 16, 96])  # in memory, in memory, files
def test_predict_and_pictures(images, size):
    import matplotlib

    matplotlib.use('Agg')
    from fastai.interpret import ClassificationInterpretation
    from PIL import Image
    from binreg_nb.all import get_dls

    dls = get_dls(str(images), size=size, bs=8, workers=0, device='cpu')
    learn, file = learner(dls), images / 'valid/light/0.png'
    with learn.no_bar(), learn.no_logging():
        label, i, p = learn.predict(file)
        assert label == dls.vocab[int(i)]
        assert p.shape == (2,)
        assert abs(float(p.sum()) - 1) < 1e-5
        for item in (str(file), file.read_bytes(), Image.open(file), dls.valid_ds[10]):
            assert learn.predict(item)[2].allclose(p, atol=1e-5), item
        preds, targets = learn.get_preds(dl=dls.test_dl(dls.valid_ds.items, with_labels=True))
        assert targets.tolist() == [0] * 10 + [1] * 10
        assert preds.allclose(learn.get_preds()[0], atol=1e-5)
        dls.show_batch(max_n=4)
        learn.show_results(max_n=4)
        assert learn.tta(n=2)[0].shape == (20, 2)
        interp = ClassificationInterpretation.from_learner(learn)
        interp.plot_top_losses(4)
        assert interp.confusion_matrix().sum() == 20


@pytest.mark.parametrize('size', [16, 96])
@pytest.mark.parametrize('kind', ['empty', 'folder', 'link', 'cut'])
def test_a_bad_file_is_one_line(images, tmp_path, kind, size):
    import shutil

    root = shutil.copytree(images, tmp_path / 'images')
    bad = root / 'valid/dark' / os.fsdecode(b'\xff\n.png')
    if kind == 'empty':
        bad.touch()
    elif kind == 'folder':
        bad.mkdir()
    elif kind == 'link':
        bad.symlink_to('gone.png')
    else:
        bad.write_bytes((root / 'valid/dark/0.png').read_bytes()[:300])
    from binreg_nb.all import InputError, get_dls

    with pytest.raises(InputError) as e:
        get_dls(str(root), size=size, bs=8, workers=0, device='cpu')
    text = str(e.value)
    assert text.isprintable()
    assert r'dark/\xff\n.png: not a readable image (' in text
