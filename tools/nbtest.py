"""Run the notebooks' tests (nbdev-test), two at a time with the threads shared out

On the CPU, whatever the machine has (`nbdev-test --flags cuda` is for a GPU). Arguments are passed
on. With --save, outputs are kept, but for warnings (which name places on this machine) and the
steps of progress bars."""

import base64, io, os, re, subprocess, sys
from pathlib import Path

import nbformat
from PIL import Image


def as_terminal(text):
    "What a terminal shows in the end: a carriage return writes over the line (progress bars)"
    lines = []
    for line in text.split('\n'):
        shown = ''
        for part in line.split('\r'):
            shown = part + shown[len(part) :]
        if shown.strip() or '\r' not in line:
            lines.append(shown.rstrip())
    return '\n'.join(lines)


def smaller(png, limit=100_000):
    "A picture of more than `limit` bytes in 256 colours (base64)"
    data = base64.b64decode(png)
    if len(data) < limit:
        return png
    out, image = io.BytesIO(), Image.open(io.BytesIO(data))
    if image.mode == 'P':
        return png
    image.convert('RGB').quantize(256, dither=Image.Dither.NONE).save(
        out, 'PNG', optimize=True, dpi=image.info.get('dpi')
    )
    return base64.b64encode(out.getvalue()).decode()


def tidy(output):
    "The output without a progress bar's steps, pictures small; None for a warning or nothing"
    if output.get('name') == 'stderr':
        return None
    if 'image/png' in output.get('data', {}):
        output.data['image/png'] = smaller(output.data['image/png'])
    if output.output_type != 'stream':
        return output
    output.text = re.sub(r'^\[IPKernelApp\] WARNING.*\n?', '', output.text, flags=re.M)
    if '\r' in output.text:
        output.text = as_terminal(output.text)
    return output if output.text.strip() else None


def tidy_outputs(folder):
    for p in Path(folder).rglob('*.ipynb'):
        nb = nbformat.read(p, 4)
        before = nbformat.writes(nb)
        for c in nb.cells:
            if c.cell_type == 'code':
                c.outputs = [o for o in map(tidy, c.outputs) if o]
        if nbformat.writes(nb) != before:
            nbformat.write(nb, p)


n = max(1, min(2, os.cpu_count() or 1))
threads = str(max(1, (os.cpu_count() or 1) // n))
# a GPU would be fastai's default device
env = {**os.environ, 'OMP_NUM_THREADS': threads, 'CUDA_VISIBLE_DEVICES': ''}
status = subprocess.call(
    [str(Path(sys.executable).parent / 'nbdev-test'), '--n-workers', str(n), *sys.argv[1:]], env=env
)
if '--save' in sys.argv:
    tidy_outputs(Path(__file__).resolve().parent.parent / 'nbs')
sys.exit(status)
