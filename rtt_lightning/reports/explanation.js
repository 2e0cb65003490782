"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const part = (id) => document.getElementById(id);
const tokens = part("tokens"), tip = part("tip");
const LAYERS = {
  relevance: ["Relevance p: how much each token decides the chosen criterion.", "0", "1", "sequential"],
  reward: ["Token reward: plus p if the chosen criterion is as desired, minus p if not.", "−1", "+1", "diverging"],
  advantage: ["Advantage: the credit of each token by all criteria together. Blue makes it likelier, orange less likely.",
    `≤ −${data.bound.toFixed(2)}`, `≥ +${data.bound.toFixed(2)}`, "diverging"],
};
const MARKS = { "1": ["✓", "met"], "-1": ["✗", "unmet"], "0": ["?", "open"] };
let response = data.responses[0], criterion = 0, layer = "relevance", spans = [], at = -1;

/** An element with a class and a text; texts never become markup. */
function element(name, kind, text) {
  const made = document.createElement(name);
  made.className = kind;
  made.textContent = text;
  return made;
}

/** A number to three decimals, signed if it may be negative. */
function shown(value, signed) {
  if (value === null) return "not finite";
  const text = Math.abs(value).toFixed(3);
  return (value < 0 ? "−" : signed ? "+" : "") + text;
}

/** The value of a piece in a layer, or null. */
function valueOf(which, number) {
  const { p, sign } = response.criteria[criterion];
  const found = which === "advantage" ? response.advantages?.[number] ?? null : p[number];
  return found === null ? null : (which === "reward" ? sign * found : found) / 1000;
}

function paint() {
  const [words, low, high, scale] = LAYERS[layer], { p, threshold, decides } = response.criteria[criterion];
  const bound = layer === "advantage" ? data.bound : 1, outside = new Set(response.outside);
  spans.forEach((span, number) => {
    const value = valueOf(layer, number) ?? 0;
    const decisive = threshold !== null && !outside.has(number) && p[number] >= Math.round(1000 * threshold);
    span.className = layer === "relevance" ? "r" : value < 0 ? "n" : "p";
    span.classList.toggle("decides", decisive);
    span.classList.toggle("outside", outside.has(number));
    span.style.setProperty("--a", (data.strongest * Math.min(1, Math.abs(value) / bound)).toFixed(2));
  });
  part("layer").textContent = words;
  part("decides").textContent = decides;
  part("low").textContent = low;
  part("high").textContent = high;
  part("scale").className = scale;
  hideTip();
}

/** A criterion as a radio button: arrow keys choose another. */
function criterionChoice(each, number) {
  const label = element("label", "", ""), input = element("input", "", ""), card = element("span", "", "");
  Object.assign(input, { type: "radio", name: "criterion", checked: number === criterion });
  input.addEventListener("change", () => { criterion = number; paint(); });
  const [mark, kind] = MARKS[each.sign], text = element("bdi", "", each.text), said = element("small", "", each.said);
  text.dir = said.dir = "auto";
  card.append(element("b", kind, mark), text, said);
  label.append(input, card);
  return label;
}

/** Show a response: its prompt, its criteria and its tokens. */
function show(number) {
  response = data.responses[number];
  criterion = Math.min(criterion, response.criteria.length - 1);
  part("response").value = number;
  part("previous").disabled = number === 0;
  part("next").disabled = number === data.responses.length - 1;
  const turns = response.prompt.map(([role, text]) => {
    const turn = element("p", "", response.prompt.length > 1 ? `${role}: ${text}` : text);
    turn.dir = "auto";
    return turn;
  });
  document.querySelector("#prompt .text").replaceChildren(...turns);
  part("criteria").replaceChildren(part("criteria").firstElementChild, ...response.criteria.map(criterionChoice));
  spans = response.pieces.map((text) => element("span", "", text));
  tokens.replaceChildren(...spans.flatMap((span, index) => [response.gaps[index] ?? "", span]), response.tail);
  part("origin").textContent = [`${response.desired}, ${response.tokens}.`, ...response.from].join(" ");
  const advantage = document.querySelector("input[value=advantage]");
  advantage.disabled = response.advantages === null;
  if (advantage.disabled && layer === "advantage") document.querySelector("input[value=relevance]").click();
  paint();
}

/** The numbers of a piece, beside it. */
function showTip(number) {
  hideTip();
  at = number;
  const span = spans[number], lines = [`relevance ${shown(valueOf("relevance", number))}`];
  lines.push(`token reward ${shown(valueOf("reward", number), true)}`);
  if (response.advantages) lines.push(`advantage ${shown(valueOf("advantage", number), true)}`);
  if (response.outside.includes(number)) lines.push("outside the answer: no token-level credit");
  if (response.several[number]) lines.push(`mean of ${response.several[number]} tokens`);
  const name = element("b", "", span.textContent.trim() || "white space");
  name.dir = "auto";
  tip.replaceChildren(name, ...lines.map((line) => element("div", "", line)));
  tip.hidden = false;
  span.classList.add("at");
  const box = span.getClientRects()[0] ?? span.getBoundingClientRect(), room = 6;
  const left = Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - room);
  const above = box.top - tip.offsetHeight - room;
  tip.style.left = `${scrollX + Math.max(room, left)}px`;
  tip.style.top = `${scrollY + (above >= 0 ? above : box.bottom + room)}px`;
}

function hideTip() {
  spans[at]?.classList.remove("at");
  at = -1;
  tip.hidden = true;
}

/** Arrow keys, Home and End go through the tokens; Escape leaves them. */
function step(event) {
  const last = spans.length - 1;
  const forward = getComputedStyle(tokens).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
  const moves = { ArrowRight: -1, ArrowLeft: -1, [forward]: 1, Home: -Infinity, End: Infinity };
  if (event.key === "Escape") hideTip();
  if (!(event.key in moves) || last < 0) return;
  event.preventDefault();
  const next = Math.max(0, Math.min(last, (at < 0 ? -1 : at) + moves[event.key]));
  spans[next].scrollIntoView({ block: "nearest" });
  showTip(next);
}

function begin() {
  const choices = data.responses.map((each, number) => {
    const option = element("option", "", `${each.name}: ${each.desired}`);
    option.value = number;
    return option;
  });
  const left = data.leftOut ? `, ${data.leftOut} left out` : "";
  part("source").textContent = `${data.source}: ${choices.length} response${choices.length > 1 ? "s" : ""}${left}`;
  part("response").append(...choices);
  part("chooser").hidden = choices.length < 2;
  part("response").addEventListener("change", (event) => show(Number(event.target.value)));
  part("previous").addEventListener("click", () => show(data.responses.indexOf(response) - 1));
  part("next").addEventListener("click", () => show(data.responses.indexOf(response) + 1));
  for (const input of document.querySelectorAll("input[name=layer]"))
    input.addEventListener("change", () => { layer = input.value; paint(); });
  const over = (event) => {
    const number = spans.indexOf(event.target);
    if (number < 0) hideTip();
    else if (number !== at) showTip(number);
  };
  tokens.addEventListener("pointerover", over);
  tokens.addEventListener("click", over);
  tokens.addEventListener("pointerleave", hideTip);
  tokens.addEventListener("blur", hideTip);
  tokens.addEventListener("keydown", step);
  show(0);
}

begin();
