// What a point of a figure is, beside the pointer or the focus; a click copies the command that exports its model.
const tip = document.getElementById("tip"), said = document.getElementById("command");
for (const point of document.querySelectorAll("a.point")) {
  const show = () => {
    tip.textContent = point.getAttribute("aria-label");
    tip.hidden = false;
    const at = point.getBoundingClientRect();
    const left = Math.min(at.right + 6, document.documentElement.clientWidth - tip.offsetWidth - 4);
    tip.style.left = `${scrollX + Math.max(4, left)}px`;
    tip.style.top = `${scrollY + (at.bottom + tip.offsetHeight + 6 > innerHeight ? at.top - tip.offsetHeight - 6 : at.bottom + 6)}px`;
  };
  const hide = () => { tip.hidden = true; };
  point.addEventListener("pointerenter", show);
  point.addEventListener("pointerleave", hide);
  point.addEventListener("focus", show);
  point.addEventListener("blur", hide);
  point.addEventListener("click", event => {
    if (!point.dataset.command) return;
    event.preventDefault();
    said.querySelector("code").textContent = point.dataset.command;
    const note = said.querySelector("span");
    note.textContent = "";
    said.hidden = false;
    navigator.clipboard?.writeText(point.dataset.command).then(() => { note.textContent = " copied"; }, () => {});
  });
}
said.querySelector("button").addEventListener("click", () => { said.hidden = true; });
