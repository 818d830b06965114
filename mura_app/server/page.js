const element = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const length = (share) => `${100 * share}%`;  // of styles
const make = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
const bar = (share) => {
  const fill = make("span");
  fill.style.width = length(share);
  return make("span", { className: "bar" }, fill);
};

let files = [];  // chosen
let asked = null;  // what the answer shown is on: its files and body part
let explanation = null;

function say(text, isError = false) {
  element("status").textContent = text;
  element("status").classList.toggle("error", isError);
}

function choose(more) {
  files.push(...more);
  element("chosen").replaceChildren(...files.map((file) => {
    const remove = make("button", { type: "button", textContent: "Remove", ariaLabel: `Remove ${file.name}` });
    remove.addEventListener("click", () => {
      files = files.filter((other) => other !== file);
      choose([]);
      element("files").focus();
    });
    return make("li", {}, make("span", { textContent: file.name }), remove);
  }));
}

element("files").addEventListener("change", (event) => {
  choose(event.target.files);
  event.target.value = "";
});
const drop = document.querySelector(".drop");
for (const name of ["dragover", "dragleave", "drop"]) {
  addEventListener(name, (event) => {
    event.preventDefault();  // a file that misses the field would replace the page
    drop.classList.toggle("over", name === "dragover" && drop.contains(event.target));
    if (name === "drop") choose(event.dataTransfer.files);
  });
}

async function ask(explain) {
  const form = new FormData();
  for (const file of asked.files) form.append("files", file, "radiograph");  // names of files stay here
  form.append("body_part", asked.part);
  form.append("explain", explain);
  let response;
  try {
    response = await fetch("/predict", { method: "POST", body: form });
  } catch {
    throw new Error("The server does not answer, or the files are too large for it.");
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(asked.files.reduceRight(
    (text, file, index) => text.replaceAll(`view ${index + 1}:`, `${file.name}:`), answer.error));
  return answer;
}

async function busy(text, work) {
  element("predict").disabled = true;
  say(text);
  try {
    await work();
    say("");
  } catch (error) {
    say(error.message, true);
    return false;
  } finally {
    element("predict").disabled = false;
  }
  return true;
}

document.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!files.length) return say("Choose the study's radiographs first.", true);
  asked = { files: [...files], part: element("part").value };
  element("answer").hidden = true;
  const found = await busy("Predicting …", async () => show(await ask(false)));
  if (found) element("verdict").focus();
  return undefined;
});

function show({ prediction }) {
  explanation = null;
  element("explain").checked = false;
  const names = prediction.class_names;
  const shown = prediction.positive_class ? 1 : names.indexOf(prediction.predicted_class);
  element("verdict").textContent = `Predicted class: ${prediction.predicted_class}`;
  element("unlike").hidden = !prediction.unlike?.is_unlike;
  if (prediction.unlike) {
    element("unlike").textContent = `Unlike the training images: ${prediction.unlike.percentile.toFixed(1)} % of held-out `
      + "training studies are more like them. The answer means little.";
  }
  element("scale").replaceChildren(...scale(prediction, shown));
  element("remarks").replaceChildren(...prediction.remarks.map((text) => make("li", { textContent: text })));
  members(prediction, shown);
  element("views").replaceChildren(...prediction.views.map((view, index) => make("figure", {},
    make("div", { className: "film" }),
    make("figcaption", { textContent: `${asked.files[index].name}: ${names[shown]} ${percent(view.probabilities[shown])}` }))));
  draw();
  element("answer").hidden = false;
}

function scale(prediction, shown) {
  const probability = prediction.probabilities[shown];
  const fill = make("div", { className: "fill" });
  fill.style.width = length(probability);
  const meter = make("div", { className: "meter", role: "img",
    ariaLabel: `Probability ${percent(probability)} on a scale from 0 to 100 %` }, fill);
  const facts = [[`Probability of ${prediction.class_names[shown]}`, percent(probability)]];
  if (prediction.threshold !== null) {
    const mark = make("div", { className: "mark" });
    mark.style.left = length(prediction.threshold);
    meter.append(mark);
    meter.ariaLabel += `, threshold ${percent(prediction.threshold)}`;
    facts.push(["Threshold (the line)", percent(prediction.threshold)]);
  }
  facts.push(["Uniform averaging", `${percent(prediction.uniform_probabilities[shown])}, ${prediction.uniform_predicted_class}`]);
  if (prediction.unlike) facts.push(["More like the training images", `${prediction.unlike.percentile.toFixed(1)} % of held-out studies`]);
  const list = make("dl", {}, ...facts.map(([name, value]) => make("div", {},
    make("dt", { textContent: name }), make("dd", { textContent: value }))));
  return [meter, list];
}

function members(prediction, shown) {
  const row = (tag, name, probability, weight) => make("tr", {},
    make(tag, { scope: "row" }, make("span", { className: "wraps", textContent: name })),
    make("td", {}, percent(probability), bar(probability)),
    make("td", {}, weight === null ? "" : weight.toFixed(2), ...(weight === null ? [] : [bar(weight)])));
  const heading = (text) => make("th", { scope: "col", textContent: text });
  const even = 1 / prediction.members.length;
  element("members").replaceChildren(
    make("thead", {}, make("tr", {}, heading("Member"), heading(prediction.class_names[shown]), heading("Weight"))),
    make("tbody", {}, ...prediction.members.map((m) => row("th", m.name, m.probabilities[shown], m.weight))),
    make("tfoot", {}, row("th", `weighted by ${prediction.agent}`, prediction.probabilities[shown], null),
      row("th", "uniform averaging", prediction.uniform_probabilities[shown], even)));
}

element("explain").addEventListener("change", async () => {
  if (element("explain").checked && !explanation) {
    const found = await busy("Making heat maps …", async () => { explanation = (await ask(true)).explanation; });
    if (!found) element("explain").checked = false;
    const key = (map) => (map.kind === "attention" ? `${map.name} (attention)` : map.name);
    const names = [...new Set((explanation?.heat_maps ?? []).map(key))];
    names.sort((a, b) => (b === "ensemble") - (a === "ensemble"));
    element("map").replaceChildren(...names.map((name) => make("option", { textContent: name })));
    if (found && !names.length) say("These members have no heat maps.", true);
  }
  draw();
});
element("map").addEventListener("change", draw);

async function picture(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type: "image/png" }));
}

function canvas(image, className) {
  const made = make("canvas", { width: image.width, height: image.height, className });
  made.getContext("2d").drawImage(image, 0, 0);
  return made;
}

async function draw() {
  const isOn = element("explain").checked && explanation !== null;
  element("map-label").hidden = element("map-note").hidden = !isOn;
  const films = [...document.querySelectorAll(".film")];
  document.querySelectorAll(".legend").forEach((legend) => legend.remove());
  await Promise.all(films.map(async (film, view) => {
    const file = asked.files[view];
    const plain = explanation ? await picture(explanation.radiographs[view]) : await createImageBitmap(file).catch(() => null);
    if (!plain) return film.replaceChildren();  // browsers cannot draw DICOM: its heat map comes with it
    const layers = [canvas(plain, "plain")];
    const chosen = element("map").value;
    const map = isOn && explanation.heat_maps.find((each) => each.view === view
      && chosen === (each.kind === "attention" ? `${each.name} (attention)` : each.name));
    if (map) {
      layers.push(heat(map, await picture(map.png), plain));
      film.after(make("p", { className: "legend" }, map.low.toFixed(2), make("i"),
        `${map.high.toFixed(2)}${map.kind === "attention" ? "" : " logit"}`));
    }
    layers[0].setAttribute("role", "img");
    layers[0].ariaLabel = map ? `${file.name} with the heat map of ${chosen}` : file.name;
    return film.replaceChildren(...layers);
  }));
}

function heat(map, colours, plain) {
  const made = make("canvas", { width: plain.width, height: plain.height, className: "heat" });
  const pen = made.getContext("2d");
  pen.drawImage(colours, 0, 0, plain.width, plain.height);
  const [x, y] = [map.hottest[0] * plain.width, map.hottest[1] * plain.height];
  const arm = plain.width / 40;
  pen.lineWidth = plain.width / 250;
  pen.strokeStyle = "#ffffff";
  pen.beginPath();
  pen.moveTo(x - arm, y); pen.lineTo(x + arm, y); pen.moveTo(x, y - arm); pen.lineTo(x, y + arm);
  pen.stroke();
  const [left, top, right, bottom] = map.shown.map((share, axis) => share * (axis % 2 ? plain.height : plain.width));
  pen.strokeStyle = "#60a0ff";
  pen.strokeRect(left, top, right - left, bottom - top);
  return made;
}
