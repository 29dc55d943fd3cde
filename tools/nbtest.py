"Run the notebooks' tests (nbdev-test), two at a time with the threads shared out; arguments are passed on"
import os, subprocess, sys
from pathlib import Path

n = max(1, min(2, os.cpu_count() or 1))
env = {**os.environ, 'OMP_NUM_THREADS': str(max(1, (os.cpu_count() or 1)//n))}
sys.exit(subprocess.call([str(Path(sys.executable).parent/'nbdev-test'), '--n-workers', str(n), *sys.argv[1:]], env=env))
