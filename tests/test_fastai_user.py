"The lines of the README, on a learner made by fastai itself"

import pytest


def test_the_ten_lines_as_the_readme_prints_them(images, root, tmp_path):
    import re, warnings
    import matplotlib

    matplotlib.use('Agg')
    from fastai.vision.all import ImageDataLoaders, Resize

    code = (
        (root / 'README.md')
        .read_text()
        .split('## Ten lines')[1]
        .split('```python')[1]
        .split('```')[0]
    )
    code = (
        re.sub(r'metrics=accuracy', 'metrics=accuracy, pretrained=False', code)
        .replace('fit_one_cycle(5)', 'fit_one_cycle(1)')
        .replace('90, warmup_epochs=30', '3, warmup_epochs=1')
    )
    dls = ImageDataLoaders.from_folder(
        images,
        train='train',
        valid='valid',
        item_tfms=Resize(32),
        bs=16,
        num_workers=0,
        device='cpu',
    )
    names = dict(dls=dls)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('always')
        exec(code, names)
    learn, plt = names['learn'], names['plt']
    plt.savefig(tmp_path / 'bins.png')
    assert plt.imread(tmp_path / 'bins.png')[..., :3].std() > 0.05, 'the figure is the current one'
    noise = [
        str(w.message)
        for w in seen
        if not issubclass(w.category, (FutureWarning, DeprecationWarning))
    ]
    assert noise == [], noise
    report = learn.bin_report()
    assert len(report) == len(names['quant_layers'](learn.model)) == 22
    assert {
        'layer',
        'w_bits',
        'step',
        'mse_qe',
        'bin_loss',
    } <= set(report)
    assert list(report.w_bits[:2]) == [8, 2]
    assert report.w_bits.iloc[-1] == 8
    assert (report.step > 0).all()
    assert learn.plot_bins(report.layer[3]).get_title() == report.layer[3]
    p, _ = learn.get_preds()
    assert p.isfinite().all()


@pytest.mark.parametrize('name', ['alexnet', 'mobilenet_v2', 'mobilenet_v3_small', 'resnet18'])
def test_torchvision_networks_train_quantized(name):
    "One step of LSQ + BR moves every weight and every step of a low-bit network"
    import torch, torchvision
    from binreg_nb.all import BinReg, calibrate, low_bit_layers, quantize_model

    torch.manual_seed(0)
    x, y = torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 2, 0])
    net = calibrate(
        quantize_model(getattr(torchvision.models, name)(num_classes=3), 2, 2), [x]
    ).train()
    (torch.nn.functional.cross_entropy(net(x), y) + BinReg(1.0)(net)).backward()
    for n, l in low_bit_layers(net).items():
        for p in (l.weight, l.weight_quantizer.step, l.act_quantizer.step):
            assert p.grad is not None and p.grad.isfinite().all(), n
