for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") !== "descending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.value;
      const compare = (a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === "");  // what is missing goes last
        const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : Number(x) - Number(y);
        return descending ? -order : order;
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
    });
  });
}
// on paper nothing can be opened: print what is folded away, and fold it again
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((details) => { details.open = true; });
});
addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));
// a button above each figure and table saves it as a file
const saved = (name, type, content) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name.toLowerCase().replace(/[^\p{L}\p{N}.]+/gu, "-").replace(/^-|-$/g, "");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};
const addButton = (element, kind, what, save) => {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "save";
  button.textContent = kind;
  button.setAttribute("aria-label", `Save as ${kind}: ${what}`);
  button.addEventListener("click", save);
  element.before(button);
};
for (const drawing of document.querySelectorAll("figure svg")) {
  const what = drawing.getAttribute("aria-label").slice(0, 60);
  addButton(drawing, "SVG", what, () => {
    const copy = drawing.cloneNode(true);
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("style", "color: #16202b; --rule: #d5dce4; background: #ffffff");
    saved(`${what}.svg`, "image/svg+xml", new XMLSerializer().serializeToString(copy));
  });
}
for (const region of document.querySelectorAll(".scroll")) {
  const what = region.getAttribute("aria-label");
  const text = (cell) => `"${cell.textContent.replace(/\s+/g, " ").trim().replaceAll('"', '""')}"`;
  addButton(region, "CSV", what, () => {
    const rows = [...region.querySelectorAll("tr")].map((row) => [...row.cells].map(text).join(","));
    saved(`${what}.csv`, "text/csv", `${rows.join("\n")}\n`);
  });
}
