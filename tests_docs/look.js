// What a reader would stumble over on this page: run by test_site.py, which says what each list means
() => {
  const skip = 'pre, code, script, style, math, .sourceCode';
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.data.trim() && node.parentElement.checkVisibility()) texts.push(node);
  }
  const rgba = s => { const n = s.match(/[\d.]+/g).map(Number); if (s.startsWith('color(')) { n[0] *= 255; n[1] *= 255; n[2] *= 255; } return [n[0], n[1], n[2], n.length > 3 ? n[3] : 1]; };
  const over = (a, b) => [0, 1, 2].map(i => a[i]*a[3] + b[i]*(1 - a[3])).concat(1);
  const light = c => { const v = c.slice(0, 3).map(x => { x /= 255; return x <= .03928 ? x/12.92 : ((x + .055)/1.055)**2.4; }); return .2126*v[0] + .7152*v[1] + .0722*v[2]; };
  const known = new Map();
  const around = e => { // what lies behind an element, and how opaque it is: computed once for each
    if (!e) return { back: [255, 255, 255, 1], opacity: 1 };
    if (!known.has(e)) {
      const up = around(e.parentElement), style = getComputedStyle(e);
      known.set(e, { back: over(rgba(style.backgroundColor), up.back), opacity: up.opacity*parseFloat(style.opacity) });
    }
    return known.get(e);
  };
  const judged = new Map();
  const contrast = e => {
    const style = getComputedStyle(e), { back, opacity } = around(e), front = rgba(style.color);
    if (style.visibility == 'hidden' || opacity < .05) return 21;
    front[3] *= opacity;
    const [a, b] = [light(over(front, back)), light(back)].sort((x, y) => y - x);
    const large = parseFloat(style.fontSize) >= 24 || parseFloat(style.fontSize) >= 18.66 && parseInt(style.fontWeight) >= 700;
    return (a + .05)/(b + .05)*(large ? 1.5 : 1);
  };
  const pale = texts.map(t => {
    const e = t.parentElement;
    if (!judged.has(e)) judged.set(e, contrast(e));
    return judged.get(e) < 4.5 ? `${judged.get(e).toFixed(2)} ${e.tagName}.${e.className}: ${t.data.trim().slice(0, 40)}` : null;
  }).filter(x => x);
  const prose = texts.filter(t => !t.parentElement.closest(skip)).map(t => t.data);
  const wide = document.documentElement.clientWidth;
  return {
    pale: [...new Set(pale)],
    raw: prose.filter(t => /\\(frac|mathrm|sum|hat|text|cdot|lambda|begin|overline)|\$[^$]*[\\_^][^$]*\$|^:::|\{\.[a-z]/.test(t)).map(t => t.trim().slice(0, 60)),
    machine: texts.filter(t => /site-packages|\/home\/|\/root\/|\/tmp\/tmp/.test(t.data)).map(t => t.data.trim().slice(0, 80)),
    foreign: texts.filter(t => /\.\. note::|:(class|func|meth|ref):|(^|[^`])``[^`]/.test(t.data)).map(t => t.data.trim().slice(0, 80)),
    formulas: document.querySelectorAll('math').length,
    flat: [...document.querySelectorAll('math')].filter(m => m.getClientRects().length && m.getBoundingClientRect().height < 5).length,
    blank: [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src.slice(0, 80)),
    whole: document.querySelectorAll('.figure-whole img').length,
    small: [...document.querySelectorAll('.figure-whole img')].filter(i => i.getBoundingClientRect().width < 55*parseFloat(i.style.getPropertyValue('--inches'))).map(i => i.src.slice(-40)),
    squeezed: [...document.querySelectorAll('main :is(td, th)')].filter(e => e.checkVisibility() && e.textContent.trim().length > 30 && e.getBoundingClientRect().width < 150).map(e => e.textContent.trim().slice(0, 40)),
    cut: [...document.querySelectorAll('main td')].filter(e => /\S\.\.\.$/.test(e.textContent.trim())).map(e => e.textContent.trim()),
    overflow: document.documentElement.scrollWidth - wide,
    stick: document.documentElement.scrollWidth > wide ? [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > wide + 1).slice(0, 3).map(e => `${e.tagName}.${e.className}`) : [],
    links: [...document.querySelectorAll('a[href]')].map(a => a.href),
    ids: [...document.querySelectorAll('[id]')].map(e => e.id),
    errors: [...document.querySelectorAll('.cell-output-stderr, .cell-output-error')].map(e => e.textContent.slice(0, 80)),
    hidden: [...document.querySelectorAll('pre code')].filter(e => /^#\|\s*(hide|export|default_exp)/m.test(e.textContent)).map(e => e.textContent.slice(0, 60)),
  };
}
