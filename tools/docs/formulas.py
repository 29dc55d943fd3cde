"Formulas as MathML, made when the site is built, with STIX Two Math beside them"

import html, re
from importlib.resources import files

from fontTools import subset
from latex2mathml.converter import convert

SPAN = re.compile(r'<span class="math (inline|display)">\\[(\[](.*?)\\[)\]]</span>', re.S)


def typeset(page, used):
    "A page with its formulas typeset; adds their characters to `used`"

    def one(m):
        tex = html.unescape(m[2])
        math = convert(tex, display='block' if m[1] == 'display' else 'inline')
        math = overlined(close_bars(signs(math)))
        used.update(html.unescape(re.sub('<[^>]*>', '', math)))
        math = math.replace('<math ', f'<math alttext={quoted(tex)} ', 1)
        return f'<span class="math {m[1]}">{math}</span>'

    return SPAN.sub(one, page)


def overlined(math):
    "A line over a whole expression is drawn by the style sheet: browsers do not stretch the accent"
    return re.sub(
        r'<mover>(<mrow>(?:(?!<mover>).)*?</mrow>)<mo[^>]*>&#x(?:000AF|02015|0203E);</mo></mover>',
        r'<mrow class="overline">\1</mrow>',
        math,
    )


def signs(math):
    "A minus after a comma, a bracket or an equals sign belongs to its number: browsers set it as a difference"
    return re.sub(
        r'(<mo[^>]*>&#x000(?:2C|28|7B|5B|3D);</mo>)<mo>&#x02212;</mo>',
        r'\1<mo form="prefix" lspace="0" rspace="0">&#x02212;</mo>',
        math,
    )


def close_bars(math):
    "The bars of an absolute value stand close: browsers take a bar in the middle for a relation"
    return re.sub(r'<mo[^>]*>&#x0007C;</mo>', '<mo stretchy="false" lspace="0" rspace="0">|</mo>', math)


def quoted(text):
    return '"' + html.escape(text) + '"'


def write_font(folder, used):
    "STIX Two Math (SIL Open Font License 1.1) of ziamath, cut down to the characters in use"
    options = subset.Options(flavor='woff', layout_features=['*'], notdef_outline=True)
    font = subset.load_font(str(files('ziamath') / 'fonts/STIXTwoMath-Regular.ttf'), options)
    cut = subset.Subsetter(options)
    drawn = {ord('√')}  # by <msqrt>, in which no such character stands
    cut.populate(unicodes=set(map(ord, used)) | styled(used) | set(range(32, 127)) | drawn)
    cut.subset(font)
    subset.save_font(font, str(folder / 'stix-two-math.woff'), options)


def styled(used):
    "The mathematical italics that a browser shows in place of single letters"
    italic = {c: 0x1D434 + ord(c) - ord('A') for c in map(chr, range(65, 91))}
    italic |= {c: 0x1D44E + ord(c) - ord('a') for c in map(chr, range(97, 123))} | {'h': 0x210E}
    greek = {chr(0x3B1 + i): 0x1D6FC + i for i in range(25)} | {
        chr(0x391 + i): 0x1D6E2 + i for i in range(25)
    }
    return {(italic | greek)[c] for c in used if c in italic or c in greek}
