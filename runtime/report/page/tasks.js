// The task browser: what each system made of each task, worst regressions first.
function tasksSection() {
  const tasks = (report.details || []).filter(t => t.systems && Object.keys(t.systems).length);
  if (!tasks.length) return;
  const names = systems.length ? systems.map(s => s.name).filter(n => tasks.some(t => t.systems[n])) : [...new Set(tasks.flatMap(t => Object.keys(t.systems)))];
  const guided = [...names].reverse().find(n => n.startsWith("gcop_")) || names[names.length - 1], kPage = 150;
  const state = { a: guided, b: names.includes("core") ? "core" : names[0], slice: "", find: "", shown: kPage, task: null };
  const idOf = t => t.task || t.id || "", sliceName = t => t.unseen ? "unseen" : t.slice || "";
  const score = (t, name) => t.systems[name] ? t.systems[name].score : undefined;
  const diff = t => isNumber(score(t, state.a)) && isNumber(score(t, state.b)) ? score(t, state.a) - score(t, state.b) : undefined;
  const badge = d => el("span", { class: "diff" + (d > 0 ? " up" : d < 0 ? " down" : "") }, isNumber(d) ? (d === 0 ? "±0" : signed(d, 0)) : "–");
  const list = el("div", { class: "list", role: "group", "aria-label": "Tasks" }), detail = el("div", { class: "detail", "aria-live": "polite" }), count = el("span", { class: "none" });

  function side(t, name) {
    const s = t.systems[name];
    if (!s) return null;
    const block = (title, body, bad) => body ? [el("h4", {}, title), el("pre", { class: bad ? "bad" : null }, body)] : null;
    return el("div", { class: "side" }, el("header", {}, el("span", {}, nameOf(name)), el("span", { class: "diff" + (s.score >= 1 ? " up" : s.score <= 0 ? " down" : "") }, percent(s.score))),
      s.problem ? [el("h4", {}, "Not used"), el("pre", { class: "bad" }, s.problem)] : null, block("Strategy", s.strategy),
      block(name === "guide_only" ? "Guide's answer" : "Core's answer", s.output), block("Failed test", s.feedback, true),
      !s.problem && !s.output ? el("p", { class: "none" }, "No answer was recorded.") : null);
  }
  function open(t) {
    state.task = t;
    for (const b of list.querySelectorAll("button")) b.setAttribute("aria-current", String(b.dataset.id === idOf(t)));
    if (!t) { detail.replaceChildren(el("p", { class: "none" }, "No task matches.")); return; }
    const rest = names.filter(n => n !== state.a && n !== state.b && t.systems[n]);
    detail.replaceChildren(...[el("h3", {}, idOf(t), " ", badge(diff(t))), el("div", { class: "none" }, [t.family, sliceOf(sliceName(t))].filter(Boolean).join(" · ")),
      el("div", { class: "prompt" }, t.prompt || ""), el("div", { class: "sides" }, side(t, state.b), state.a !== state.b ? side(t, state.a) : null),
      rest.length ? el("details", { style: "margin-top: 12px" }, el("summary", {}, `The other systems (${rest.length})`), el("div", { class: "sides", style: "margin-top: 10px" }, rest.map(n => side(t, n)))) : null].filter(Boolean));   // the browser would write null as text
  }
  function refresh() {
    const wanted = state.find.toLowerCase();
    const found = tasks.filter(t => (!state.slice || sliceName(t) === state.slice) &&
      (!wanted || [idOf(t), t.family, t.prompt, ...Object.values(t.systems).flatMap(s => [s.strategy, s.output])].some(x => x && x.toLowerCase().includes(wanted))));
    found.sort((x, y) => (diff(x) ?? 9) - (diff(y) ?? 9) || (score(x, state.a) ?? 9) - (score(y, state.a) ?? 9) || (idOf(x) < idOf(y) ? -1 : 1));
    const worse = found.filter(t => diff(t) < 0).length, better = found.filter(t => diff(t) > 0).length;
    count.textContent = `${found.length} tasks: ${worse} worse, ${better} better, ${found.length - worse - better} as before`;
    list.replaceChildren(...found.slice(0, state.shown).map(t => el("button", { type: "button", "data-id": idOf(t), onclick: () => open(t) },
      el("span", { class: "id" }, idOf(t), el("small", {}, (t.prompt || "").slice(0, 70))), badge(diff(t)))));
    if (found.length > state.shown) list.append(el("button", { type: "button", onclick: () => { state.shown += kPage; refresh(); } }, `Show ${Math.min(kPage, found.length - state.shown)} more`));
    open(found.includes(state.task) ? state.task : found[0] || null);
  }
  const pick = (label, value, options, set) => el("label", {}, label, el("select", { onchange: e => { set(e.target.value); state.shown = kPage; refresh(); } },
    options.map(([v, name]) => { const o = el("option", { value: v }, name); o.selected = v === value; return o; })));
  const slices = [...new Set(tasks.map(sliceName).filter(Boolean))];
  section("tasks", "Task by task", "Sorted by difference: the worst regressions first. One execution is shown per system, a failed one if there is any.",
    el("div", { class: "controls" }, pick("compare", state.a, names.map(n => [n, nameOf(n)]), v => { state.a = v; }), pick("with", state.b, names.map(n => [n, nameOf(n)]), v => { state.b = v; }),
      slices.length > 1 ? pick("slice", "", [["", "all"], ...slices.map(s => [s, sliceOf(s)])], v => { state.slice = v; }) : null,
      el("input", { type: "search", placeholder: "find in prompts, strategies, answers", "aria-label": "Find", oninput: e => { state.find = e.target.value; state.shown = kPage; refresh(); } }), count),
    el("div", { class: "browser" }, list, detail));
  refresh();
}

(function start() {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
  const show = on => { root.dataset.theme = on ? "dark" : "light"; };
  let chosen = false;
  show(location.hash === "#dark" || dark.matches);
  dark.addEventListener("change", e => { if (!chosen) show(e.matches); });
  document.getElementById("theme").addEventListener("click", () => { chosen = true; show(root.dataset.theme !== "dark"); });
  headline();
  facts();
  for (const part of [systemsSection, pairedSection, acceptanceSection, trainingSection, discoverySection, evaluationsSection, costSection, tasksSection]) part();
})();
