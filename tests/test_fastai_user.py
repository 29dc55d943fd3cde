"The lines of the README, on a learner made by fastai itself"
import pytest


def test_seven_lines(images):
    import matplotlib; matplotlib.use('Agg')
    from fastai.vision.all import ImageDataLoaders, Resize, accuracy, vision_learner
    from torchvision.models import resnet18
    from binreg_nb.all import BinReg, quant_layers
    dls = ImageDataLoaders.from_folder(images, train='train', valid='valid', item_tfms=Resize(32), bs=16, num_workers=0, device='cpu')
    learn = vision_learner(dls, resnet18, metrics=accuracy, pretrained=False)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(1)
        learn.quantize(w_bits=2, a_bits=2)
        learn.fit_two_stage(2, warmup_epochs=1, reg=BinReg(lam=1.))
    report = learn.bin_report()
    assert len(report) == len(quant_layers(learn.model)) == 22 and {'layer', 'w_bits', 'step', 'mse_qe', 'bin_loss'} <= set(report)
    assert list(report.w_bits[:2]) == [8, 2] and report.w_bits.iloc[-1] == 8 and (report.step > 0).all()
    fig = learn.plot_bins(report.layer[3]); assert fig.axes
    p, _ = learn.get_preds(); assert p.isfinite().all()


@pytest.mark.parametrize('name', ['alexnet', 'mobilenet_v2', 'mobilenet_v3_small', 'resnet18'])
def test_torchvision_networks_train_quantized(name):
    "One step of LSQ + BR moves every weight and every step of a low-bit network"
    import torch, torchvision
    from binreg_nb.all import BinReg, calibrate, low_bit_layers, quantize_model
    torch.manual_seed(0); x, y = torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 2, 0])
    net = calibrate(quantize_model(getattr(torchvision.models, name)(num_classes=3), 2, 2), [x]).train()
    (torch.nn.functional.cross_entropy(net(x), y) + BinReg(1.)(net)).backward()
    for n, l in low_bit_layers(net).items():
        for p in (l.weight, l.weight_quantizer.step, l.act_quantizer.step): assert p.grad is not None and p.grad.isfinite().all(), n
