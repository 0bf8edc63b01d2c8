"use strict";
const filter = document.querySelector(".filter");
const rows = [...document.querySelectorAll(".req")];
const search = filter.querySelector("input[type=search]");
const states = [...filter.querySelectorAll("input[type=checkbox]")];
const said = filter.querySelector("output");
const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

function apply() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = new Set(states.filter((box) => box.checked).map((box) => box.value));
  let shown = 0;
  for (const row of rows) {
    const fits = wanted.has(row.dataset.state) && words.every((word) => texts.get(row).includes(word));
    row.hidden = !fits;
    shown += fits;
  }
  for (const group of document.querySelectorAll(".group")) {
    group.hidden = !group.querySelector(".req:not([hidden])");
    if (words.length && group.matches("details")) group.open = true;
  }
  said.textContent = `${shown} of ${rows.length} requirements shown`;
}

function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target.matches(".req")) {
    if (target.hidden) {
      search.value = "";
      states.forEach((box) => { box.checked = true; });
      apply();
    }
    target.open = true;
  }
  for (let box = target.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
  target.scrollIntoView();
}

filter.hidden = false;
filter.addEventListener("input", apply);
window.addEventListener("hashchange", reveal);
apply();
if (location.hash) reveal();
