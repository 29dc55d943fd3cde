"The compiled and the eager form, where a compiler is and where none is"

import os, subprocess, sys

CODE = '''
import torch, warnings
from binreg_nb.fused import set_compile
from binreg_nb.quantizers import LSQQuantizer
torch.manual_seed(0); w = torch.randn(200, 100, requires_grad=True); q = LSQQuantizer(2).init_from(w)
set_compile(False); ref = q(w)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter('always'); set_compile(True); out = q(w); out.sum().backward(); q(w)
assert torch.equal(ref, out) and w.grad is not None and q.step.grad.isfinite()
print(len([o for o in seen if 'without compilation' in str(o.message)]))
'''


def warned(tmp_path, **env):
    "How often a process says that it runs without compilation"
    p = subprocess.run(
        [sys.executable, '-c', CODE],
        capture_output=True,
        text=True,
        env={**os.environ, 'TORCHINDUCTOR_CACHE_DIR': str(tmp_path), **env},
    )
    assert p.returncode == 0, p.stderr[-2000:]
    return int(p.stdout.split()[-1])


def test_without_a_compiler_it_runs_eagerly_and_says_so_once(tmp_path):
    assert warned(tmp_path, CXX='/nonexistent/g++') == 1


def test_compilation_can_be_disabled_by_torchs_own_switch(tmp_path):
    assert warned(tmp_path, TORCH_COMPILE_DISABLE='1') == 0


def test_cudas_compiler_without_a_gpu_makes_no_red_box(tmp_path):
    "PyTorch warns of it when its compiler is imported"
    nvcc = tmp_path / 'bin/nvcc'
    nvcc.parent.mkdir()
    nvcc.write_text('#!/bin/sh\n')
    nvcc.chmod(0o755)
    cuda = dict(CUDA_HOME=str(tmp_path), CUDA_VISIBLE_DEVICES='')

    def said(code):
        p = subprocess.run(
            [sys.executable, '-c', code], capture_output=True, text=True, env={**os.environ, **cuda}
        )
        assert p.returncode == 0, p.stderr
        return p.stderr

    assert 'No CUDA runtime' in said('import torch.utils.cpp_extension')
    ours = 'from binreg_nb.fused import _import_compiler as go; go(); import torch.utils.cpp_extension'
    assert said(ours) == ''


def _tiled_and_plain(f, *args):
    "The results of a pass cut into tiles, as on a GPU, and those of the formulas"
    from binreg_nb.fused import _compiled

    return zip(_compiled(f, args, tiled=True)(*args), f(*args))


def test_a_gpus_tiles_give_the_numbers_of_the_formulas():
    import torch
    from binreg_nb.quantizers import _backward_pass
    from binreg_nb.regularizers import _passes

    torch.manual_seed(0)
    step, offset = torch.tensor(0.4), torch.tensor(-0.3)
    x, grad = torch.randn(2, 3 * 1024).bfloat16()
    used, codes = torch.tensor(True), torch.tensor([0.0, 3.0])
    backward = _backward_pass('hardswish').f
    for got, want in _tiled_and_plain(backward, grad, x, step, codes, offset, used):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)

    w, codes = torch.randn(3 * 1024), torch.tensor([-2.0, 1.0])
    stats, grads = (p.f for p in _passes(4, False))
    loss, alpha = stats(w, step, codes)
    for got, want in _tiled_and_plain(stats, w, step, codes):
        torch.testing.assert_close(got, want)
    for got, want in _tiled_and_plain(grads, w, step, codes, torch.ones(()), alpha):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
