'use strict';
const tip = document.getElementById('tip');
for (const plot of document.querySelectorAll('.plot')) {
  const points = JSON.parse(plot.dataset.points);
  const area = plot.querySelector('.area');
  const [cursor, mark] = [area.querySelector('.cursor'), area.querySelector('.mark')];
  const leave = () => { plot.classList.remove('on'); tip.hidden = true; };
  if (!points.length) continue;
  area.addEventListener('pointermove', event => {
    const box = area.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width;
    const [left, top, title, value] = points.reduce((a, b) => Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a);
    cursor.style.left = mark.style.left = 100 * left + '%';
    mark.style.top = 100 * top + '%';
    plot.classList.add('on');
    tip.hidden = false;
    tip.replaceChildren(Object.assign(document.createElement('b'), { textContent: value }), title);
    const at = box.left + left * box.width;
    tip.style.left = Math.max(8, Math.min(at - tip.offsetWidth / 2, innerWidth - tip.offsetWidth - 8)) + 'px';
    tip.style.top = Math.max(8, box.top + top * box.height - tip.offsetHeight - 14) + 'px';
  });
  area.addEventListener('pointerleave', leave);
  addEventListener('scroll', leave, { passive: true });
}
for (const pre of document.querySelectorAll('pre')) {
  const text = pre.textContent;
  const button = Object.assign(document.createElement('button'), { className: 'copy', type: 'button', textContent: 'Copy' });
  button.addEventListener('click', async () => {
    // Pages opened from a file have no clipboard API in some browsers.
    try { await navigator.clipboard.writeText(text); } catch {
      getSelection().selectAllChildren(pre.querySelector('code'));
      document.execCommand('copy');
    }
    button.textContent = 'Copied';
    setTimeout(() => button.textContent = 'Copy', 1500);
  });
  pre.prepend(button);
}
