"""What nbdev documents, in the project's own words: what another library wrote is only named"""

import ast, re

DEFINITIONS = ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef
LINES = 3  # of a signature that a class may have from elsewhere
HEAD = re.compile(r'^#+ (?:\[)?([\w.]+)', re.M)
SIGNATURE = re.compile(r'(```python\n)\s*(.*?)(\n```)', re.S)


def definitions(sources):
    "name -> syntax tree of each class and function that some code defines"
    trees = [o for source in sources for o in ast.parse(source).body]
    return {full_name(o): o for o in trees if isinstance(o, DEFINITIONS)}


def full_name(definition):
    "A definition's name; with its class where `@patch` puts it into one"
    patched = any(ast.unparse(o).startswith('patch') for o in definition.decorator_list)
    if not patched:
        return definition.name
    return f'{ast.unparse(definition.args.args[0].annotation)}.{definition.name}'


def is_own(base):
    "Is a base class one of the package's?"
    from binreg_nb._modidx import d

    name = ast.unparse(base).split('.')[-1]
    return any(f'{module}.{name}' in names for module, names in d['syms'].items())


def inherits_arguments(o, defined):
    "Is it a class whose arguments are another library's?"
    if not isinstance(o, ast.ClassDef) or not o.bases or o.decorator_list:
        return False
    if any(getattr(m, 'name', '') == '__init__' for m in o.body):
        return False
    near = [defined[ast.unparse(b)] for b in o.bases if ast.unparse(b) in defined]
    if near:
        return all(inherits_arguments(b, defined) for b in near)
    return not any(map(is_own, o.bases))


def only_own(text, defined):
    "Documentation without the arguments and the descriptions that another library wrote"
    name = HEAD.search(text)
    o = defined.get(name[1]) if name else None
    signature = SIGNATURE.search(text)
    if o is None or signature is None:
        return text
    if inherits_arguments(o, defined) and signature[2].count('\n') > LINES:
        bases = ', '.join(map(ast.unparse, o.bases))
        text = SIGNATURE.sub(rf'\1class {o.name}({bases})\3', text, count=1)
    if not ast.get_docstring(o):
        text = re.sub(r'(\n```\n+)\*.*?\*(?=\n\n|\s*$)', r'\1', text, count=1, flags=re.S)
    return text
