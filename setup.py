"Reads settings.ini (metadata, requirements, commands) and binreg_nb/__init__.py (the version)."
import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

here = Path(__file__).parent
cfg = ConfigParser(delimiters=['='])
cfg.read(here / 'settings.ini', encoding='utf-8')
cfg = cfg['DEFAULT']


def lines(key):
    "The lines of a setting; one that a fork has not got is empty"
    return [o.strip() for o in cfg.get(key, '').splitlines() if o.strip()]


def urls():
    "The papers, and where the package is published, once it is"
    found = dict(o.split(' = ', 1) for o in lines('urls'))
    git, doc = cfg.get('git_url', ''), cfg.get('doc_url', '')
    if git: found.update(Repository=git, Issues=f'{git}/issues', Changelog=f'{git}/blob/main/CHANGELOG.md')
    if doc: found.update(Documentation=doc)
    return found


EXTRAS = ('dev', 'bench', 'distributed', 'export', 'docs', 'test-docs')

setup(
    version=re.search(r'__version__ = "(.+?)"', (here / 'binreg_nb/__init__.py').read_text(encoding='utf-8'))[1],
    description=cfg['description'], author=cfg['author'], license=cfg['license'],
    keywords=cfg['keywords'].split(', '), classifiers=lines('classifiers'), project_urls=urls(),
    long_description=(here / 'README.md').read_text(encoding='utf-8'), long_description_content_type='text/markdown',
    python_requires=f">={cfg['min_python']}", install_requires=lines('requirements'),
    extras_require={k: lines(f"{k.replace('-', '_')}_requirements") for k in EXTRAS},
    # The papermill templates live among the notebooks and travel in the wheel as binreg_nb/experiments
    packages=['binreg_nb', 'binreg_nb.experiments'], package_dir={'binreg_nb.experiments': 'nbs/experiments'},
    package_data={'binreg_nb.experiments': ['*.ipynb']}, include_package_data=False, zip_safe=False,
    entry_points=dict(console_scripts=lines('console_scripts'), nbdev=['binreg_nb = binreg_nb._modidx:d']))
