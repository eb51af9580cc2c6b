// The report's sections, each present only if its data are.
const report = JSON.parse(document.getElementById("data").textContent);
const kNames = {
  core: "Core alone", core_icl: "Core + 3 examples", core_notes: "Core + all notes", guide_only: "Guide alone",
  gcop_base: "Untrained guide + core", gcop_sft: "SFT guide + core", gcop_advisor_2step: "Advisor, 2-step + core",
  gcop_advisor_3step: "Advisor, 3-step + core", gcop_exectune: "ExecTune guide + core",
};
// Also the order in which slices are shown.
const kSlices = { all: "All tasks", house: "House conventions", unseen: "Conventions never trained on", plain: "Plain functions" };
const nameOf = system => kNames[system] || system, sliceOf = slice => kSlices[slice] || slice;
const colourOf = system => system === "gcop_exectune" ? "var(--accent)" : system === "gcop_sft" || system.startsWith("gcop_advisor") ? "var(--accent-soft)"
  : system === "gcop_base" ? "var(--base)" : system === "core" ? "var(--core)" : "var(--control)";
const kPalette = ["var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)", "var(--c6)"];
const systems = report.systems || [], paired = report.paired || [];
const resumed = isNumber(report.resumed?.times) ? report.resumed : null, times = n => n === 1 ? "once" : `${whole(n)} times`;
const isFamily = row => row.method.startsWith("family"), main = document.getElementById("main");

const inOrder = slices => { const at = Object.keys(kSlices), rank = s => at.includes(s) ? at.indexOf(s) : at.length; return [...new Set(slices)].sort((a, b) => rank(a) - rank(b)); };

function section(id, title, note, ...content) {
  document.getElementById("nav").append(el("a", { href: "#" + id }, title));
  main.append(el("section", { id, "aria-label": title }, el("h2", {}, title), note ? el("p", { class: "note" }, note) : null, content));
}
function table(heads, rows) {
  return el("div", { class: "table" }, el("table", {}, el("thead", {}, el("tr", {}, heads.map(h => el("th", { scope: "col" }, h)))),
    el("tbody", {}, rows.map(row => el("tr", { class: row.strong ? "strong" : null }, row.cells.map(c => el("td", {}, c)))))));
}
const withInterval = (mean, ci) => [percent(mean, 1), ci && isNumber(ci[0]) ? el("span", { class: "soft" }, `  ${fixed(100 * Math.max(0, ci[0]), 0)}–${fixed(100 * Math.min(1, ci[1]), 0)}`) : null];

function headline() {
  const best = ["gcop_exectune", "gcop_sft", "gcop_advisor_3step", "gcop_advisor_2step", "gcop_base"].find(name => systems.some(s => s.name === name));
  const slice = ["house", "all"].find(s => paired.some(p => p.a === best && p.b === "core" && p.slice === s));
  const row = paired.find(p => p.a === best && p.b === "core" && p.slice === slice && isFamily(p)) || paired.find(p => p.a === best && p.b === "core" && p.slice === slice);
  document.getElementById("run-name").textContent = report.recipe || "";
  const evaluated = report.evaluations || [];
  if (evaluated.length && !row) {
    const count = name => new Set(evaluated.map(e => e[name])).size, plural = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
    document.getElementById("headline").textContent = `${plural(count("method"), "controller")} on ${plural(count("store"), "store")} of recorded traces`;
  }
  const search = report.discovery, first = search && (search.held_out || [])[0];
  if (search && !row) {
    const tried = (search.rounds || []).reduce((t, r) => t + r.proposals, 0);
    document.getElementById("headline").textContent = search.chosen === "start" ? `None of ${tried} proposals is above ${search.start}`
      : `${search.chosen}, of ${tried} proposals: ${first && isNumber(first.gain) ? `${signed(first.gain, 2)} points above ${search.start} on ${first.label}` : `it failed on held-out data`}`;
  }
  if (!row) return;
  const of = name => { const s = systems.find(x => x.name === name); return s && (slice === "all" ? s.mean : s.slices && s.slices[slice] && s.slices[slice].mean); };
  const where = slice === "house" ? "house-convention tasks" : "tasks";
  document.getElementById("headline").textContent = isNumber(of(best)) && isNumber(of("core"))
    ? `The ${nameOf(best)} solves ${percent(of(best))} of the ${where}; the core alone ${percent(of("core"))}.`
    : `${nameOf(best)} against the core alone: ${signed(row.diff)} points on ${where}.`;
  const [low, high] = row.ci95 || [], known = isNumber(low);
  const verdict = !known ? "Too few families for an interval." : low > 0 ? "The interval lies above zero." : high < 0 ? "The interval lies below zero: guidance harms here." : "The interval includes zero: these data do not settle it.";
  document.getElementById("lead").textContent =
    `Paired difference ${signed(row.diff)} points${known ? `, 95 % interval ${signed(low)} to ${signed(high)}` : ""} (${row.n} tasks in ${row.families} families). ${verdict}`;
  document.title = "gcop: " + (report.recipe || "report");
}

function facts() {
  const list = document.getElementById("facts"), chip = (name, value) => value !== undefined && value !== "" && list.append(el("li", {}, name + " ", el("b", {}, String(value))));
  for (const name of ["guide", "core", "teacher", "tasks"]) chip(name, report.options?.[name]);
  chip("profile", report.profile); chip("seed", report.seed); chip("device", report.device); chip("isolation", report.isolation); chip("commit", report.commit ? report.commit.slice(0, 12) : undefined);
  const seconds = (report.stages || []).reduce((t, s) => t + (s.seconds || 0), 0);
  if (resumed) chip("resumed", times(resumed.times));
  if (seconds) chip(resumed ? "time of all processes" : "time", duration(seconds));
  if (report.cost) chip("cost", dollars(Object.values(report.cost).reduce((a, b) => a + b, 0)));
  const k = Math.min(...systems.map(s => s.k).filter(isNumber));
  if (isFinite(k)) chip("executions per task", k);
  if (k < 4) document.getElementById("lead").append(` With k = ${k} execution${k > 1 ? "s" : ""} per task and system this is a quick look; figures to be quoted use k ≥ 4 and three training seeds.`);
}

function systemsSection() {
  if (!systems.length) return;
  const slices = inOrder(["all", ...systems.flatMap(s => Object.keys(s.slices || {}))]);
  const panels = slices.map(slice => {
    const rows = systems.map(s => [s, slice === "all" ? s : (s.slices || {})[slice]]).filter(([, at]) => at).map(([s, at]) => ({
      label: nameOf(s.name), value: at.mean, low: at.ci95 && isNumber(at.ci95[0]) ? Math.max(0, at.ci95[0]) : null, high: at.ci95 && isNumber(at.ci95[1]) ? Math.min(1, at.ci95[1]) : null, colour: colourOf(s.name), strong: s.name === "gcop_exectune",
      hint: `${nameOf(s.name)}, ${sliceOf(slice)}: ${percent(at.mean, 1)} of ${at.n} tasks`,
    }));
    const n = rows.length ? (slice === "all" ? systems[0].n : systems[0].slices[slice] && systems[0].slices[slice].n) : 0;
    return el("div", {}, el("h3", {}, `${sliceOf(slice)}${n ? `, ${n} tasks` : ""}`),
      intervals(rows, { label: `Share solved by system: ${sliceOf(slice)}`, low: 0, high: 1, format: v => percent(v), axis: "share of tests solved", tickFormat: v => fixed(100 * v, 0) + " %" }));
  });
  const rows = systems.map(s => ({ strong: s.name === "gcop_exectune", cells: [nameOf(s.name), withInterval(s.mean, s.ci95), percent(s.alpha_exec, 1), percent(s.valid_rate), percent(s.leak_rate, 1),
    s.name === "core" ? "–" : whole(s.helped), s.name === "core" ? "–" : whole(s.harmed), whole(s.tokens_in), whole(s.tokens_out), duration(s.latency_s), dollars(s.cost_usd), fixed(s.utility, 3)] }));
  section("systems", "Systems", "How often each system's answer passes the task's tests. Dots are means over tasks, bars 95 % t intervals over tasks; a leak or a malformed strategy counts as a failure.",
    el("div", { class: "grid" }, panels),
    table(["system", "solved", "α exec", "valid", "leaks", "helped", "harmed", "tokens in", "tokens out", "latency", "cost", "utility"], rows),
    el("p", { class: "foot" }, "α exec: mean success of the guide's own strategies when the core executes them. Helped and harmed: tasks whose score rises or falls by more than half against the core alone. Utility: solved − λ · cost."));
}

function pairedSection() {
  if (!paired.length) return;
  const rows = [], order = inOrder(paired.map(p => p.slice));
  for (const slice of order) {
    rows.push({ heading: sliceOf(slice) });
    const seen = new Set();
    for (const p of paired.filter(x => x.slice === slice)) {
      const key = p.a + "\u0000" + p.b;
      if (seen.has(key)) continue;
      seen.add(key);
      const same = paired.filter(x => x.slice === slice && x.a === p.a && x.b === p.b), first = same.find(isFamily) || same[0], other = same.find(x => x !== first);
      const [low, high] = first.ci95 || [], clear = isNumber(low) && (low > 0 || high < 0);
      rows.push({ label: p.b === "core" ? nameOf(p.a) : `${nameOf(p.a)} − ${nameOf(p.b).replace(" + core", "")}`, value: first.diff, low, high, strong: p.a === "gcop_exectune" && p.b === "core",
        colour: !clear ? "var(--core)" : low > 0 ? "var(--good)" : "var(--bad)", second: other && other.ci95 ? { low: other.ci95[0], high: other.ci95[1] } : null,
        hint: `${nameOf(p.a)} − ${nameOf(p.b)}, ${sliceOf(slice)}: ${signed(first.diff)} points, 95 % ${signed(low)} to ${signed(high)}; ${first.n} tasks, ${first.families} families` });
    }
  }
  // One slice with two families must not squeeze all others: the axis takes every value and most intervals, not the widest.
  const values = rows.map(r => r.value).filter(isNumber).map(Math.abs), ends = rows.flatMap(r => [r.low, r.high]).filter(isNumber).map(Math.abs).sort((a, b) => a - b);
  const reach = Math.min(1, Math.max(0.1, ...values, ends[Math.floor(ends.length * 0.8)] || 0) * 1.1);
  section("differences", "Differences on the same tasks", "Each system minus the core alone, unless the row says otherwise, on the same tasks. Right of the zero line is better.",
    el("div", { class: "legend" }, ...[["better, interval above zero", "--good"], ["not settled", "--core"], ["worse, interval below zero", "--bad"]].map(([name, c]) => el("span", { style: `--mark: var(${c})` }, name))),
    intervals(rows, { label: "Paired differences with 95 % intervals", low: -reach, high: reach, format: v => signed(v), axis: "difference, percentage points", zero: true, tickFormat: v => signed(v, 0) }),
    el("p", { class: "foot" }, "Solid bar: the primary interval, by families with equal weight (t distribution over family means). Dotted: paired bootstrap over tasks, which takes tasks for independent. An arrow: the interval goes on beyond the picture."));
}

function acceptanceSection() {
  const a = report.acceptance;
  if (!a) return;
  const origins = Object.entries(a.kept_by_origin || {}).sort((x, y) => y[1] - x[1]), share = (x, y) => y ? `${percent(x / y)} of these` : "";
  const kept = origins.length ? origins.map(([origin, n], i) => ({ value: n, colour: kPalette[i % kPalette.length], hint: `${origin}: ${n}` })) : [{ value: a.kept, colour: "var(--c1)" }];
  const rows = [{ label: "proposed", parts: [{ value: a.proposed, colour: "var(--base)" }] },
    { label: "tested", parts: [{ value: a.tested, colour: "var(--accent-soft)" }], note: share(a.tested, a.proposed) }, { label: "kept", parts: kept, note: share(a.kept, a.tested) }];
  const claim = (value, what) => el("div", { class: "claim" }, el("b", {}, value), el("span", {}, what));
  const rule = () => !a.need ? "" : a.rule === "sprt" ? `: a sequential test of at most ${a.cap} executions that is no more often wrong than ${a.need} of ${a.m}` : `: ${a.need} of ${a.m} executions`;
  const more = [];
  if (isNumber(a.good_share_95)) more.push(claim("≥ " + percent(a.good_share_95), "of the kept ones are good, with 95 % confidence (one round)"));
  if (isNumber(a.executability_median)) more.push(claim("≥ " + percent(a.executability_median), `executability of the middle kept one; of the least certain ≥ ${percent(a.executability_least)}`));
  if (a.audit) more.push(claim(percent(a.audit.successes / a.audit.n), `of ${whole(a.audit.n)} kept ones passed one fresh execution, ${percent(a.audit.ci95[0])} to ${percent(a.audit.ci95[1])}`));
  const saved = isNumber(a.trials_of_fixed) && a.trials_of_fixed > a.trials ? ` instead of ${whole(a.trials_of_fixed)}` : "";
  section("acceptance", "Acceptance", `A strategy is kept when the core succeeds with it often enough${rule()}. ${isNumber(a.malformed) || isNumber(a.leaked) ? `Not tested: ${whole(a.malformed || 0)} malformed, ${whole(a.leaked || 0)} that gave the answer away.` : "What is not tested was malformed or gave the answer away."}`,
    origins.length ? el("div", { class: "legend" }, "kept by origin:", origins.map(([origin, n], i) => el("span", { style: `--mark: ${kPalette[i % kPalette.length]}` }, `${origin} ${n}`))) : null,
    bars(rows, { label: "Strategies proposed, tested and kept", format: whole }),
    el("div", { class: "claims" }, claim(percent(a.beta_fa, 1), "of bad strategies are kept by chance, at most (exact)"), claim("≈ " + fixed(a.expected_bad, 1), `bad ones among the ${whole(a.kept)} kept: an estimate from the rejected, on average not too low`),
      claim("≤ " + whole(a.certified_bad_95), "bad ones with 95 % confidence"), claim(whole(a.trials), "executions by the core" + saved), ...more));
}

function trainingSection() {
  const sft = report.sft, grpo = report.grpo, grid = [], notes = [];
  const panel = (title, picture) => grid.push(el("div", {}, el("h3", {}, title), picture));
  const history = (grpo && grpo.history) || [], at = field => history.map(row => [row.step, row[field]]);
  if (history.length) {
    const points = at("reward").filter(p => isNumber(p[1])), mean = i => points.reduce((t, p) => t + p[i], 0) / points.length;
    const [low, high] = grpo.reward_slope_ci95 || [];
    panel("Reward per GRPO step, with its trend", lines([{ name: "reward", colour: "var(--c1)", points, fit: isNumber(grpo.reward_slope) ? { slope: grpo.reward_slope, at: mean(0), mean: mean(1) } : null }],
      { label: "Mean reward per step", axis: "GRPO step", format: v => fixed(v, 2), dots: true }));
    const names = [...new Set(history.flatMap(row => Object.keys(row.parts || {})))];
    if (names.length) panel("Parts of the reward", lines(names.map((name, i) => ({ name, colour: kPalette[i % kPalette.length], points: history.map(row => [row.step, (row.parts || {})[name]]) })),
      { label: "Parts of the reward per step", axis: "GRPO step", format: v => fixed(v, 2) }));
    if (history.some(row => isNumber(row.kl))) panel("KL from the SFT weights", lines([{ name: "KL", colour: "var(--c3)", points: at("kl") }], { label: "KL per step", axis: "GRPO step", format: small, floor: 0 }));
    if (history.some(row => isNumber(row.valid_rate))) panel("Well formed and leaking strategies", lines([{ name: "valid", colour: "var(--c3)", points: at("valid_rate") }, { name: "leaks", colour: "var(--c2)", points: at("leak_rate") }],
      { label: "Valid and leak rate per step", axis: "GRPO step", format: v => percent(v), floor: 0 }));
    notes.push(`Reward slope ${small(grpo.reward_slope)} a step${isNumber(low) ? `, 95 % ${small(low)} to ${small(high)}` : ""}${isNumber(grpo.kl) ? `; KL ${small(grpo.kl)} nats a token at the end` : grpo.kl_beta ? "; no group trained anything, so there is no KL" : "; KL was not measured (kl_beta is 0)"}${isNumber(grpo.changed_greedy) ? `; ${percent(grpo.changed_greedy)} of the greedy strategies differ from the SFT guide's` : ""}.`);
    const unscored = history.reduce((sum, row) => sum + (row.unscored || 0), 0);
    if (unscored) notes.push(`${unscored} sampled strategies trained nothing: their core, check or judge gave no score.`);
  }
  if (sft && (sft.losses || []).length) panel("SFT loss per step", lines([{ name: "loss", colour: "var(--c4)", points: sft.losses.map((v, i) => [i + 1, v]) }], { label: "SFT loss", axis: "SFT step", format: v => fixed(v, 2), floor: 0 }));
  if (sft) notes.unshift(sft.examples ? `SFT on ${sft.examples} kept strategies.` : "No strategy was kept: SFT was left out.");
  if (grid.length || notes.length) section("training", "Training", notes.join(" "), el("div", { class: "grid" }, grid));
}

function discoverySection() {
  const found = report.discovery;
  if (!found) return;
  const points = v => `${signed(v, 2)} points`, rounds = found.rounds || [], proposals = rounds.reduce((t, r) => t + r.proposals, 0), failed = rounds.reduce((t, r) => t + r.failed, 0);
  const held = (found.held_out || []).map(h => ({ cells: [h.label, isNumber(h.gain) ? points(h.gain) : `failed: ${h.failed}`,
    h.ci95 && isNumber(h.ci95[0]) ? `${signed(h.ci95[0], 2)} to ${signed(h.ci95[1], 2)}` : "–"] }));
  section("discovery", "The search", `${proposals} proposals by ${found.proposer}, ${failed} of them failed. Chosen: ${found.chosen}${found.chosen === "start" ? ", for no proposal was above it" : ""}. Gain is accuracy above ${found.start}, at the costs that it has.`,
    el("div", { class: "grid" }, [el("div", {}, el("h3", {}, "Best so far, on the search set"), lines([{ name: "gain", colour: "var(--c1)", points: rounds.map(r => [r.round, r.gain]) },
      { name: "less its changes", colour: "var(--c2)", points: rounds.map(r => [r.round, r.score]) }], { label: "Best gain by round", axis: "round", format: v => signed(v, 2), floor: 0, hint: (s, p) => `round ${p[0]}: ${s.name} ${points(p[1])}` }))]),
    held.length ? table(["held-out data, looked at once", "gain", "95 %, bootstrap over questions"], held) : null,
    el("p", { class: "foot" }, `The rule of choice: ${found.rule}.`));
}

// Accuracy against cost: a line through a method's settings, a dot where it has one.
function evaluationsSection() {
  const rows = report.evaluations || [];
  if (!rows.length) return;
  const stores = [...new Set(rows.map(r => r.store))], methods = [...new Set(rows.map(r => r.method))];
  const colour = method => kPalette[methods.indexOf(method) % kPalette.length], short = path => path.split("/").pop().replace(/\.json$/, "");
  const settings = params => Object.entries(params).map(([name, value]) => `${name} ${value}`).join(", ");
  const panels = stores.map(store => {
    const series = methods.map(method => {
      const own = rows.filter(r => r.store === store && r.method === method).sort((a, b) => a.cost_total / a.solves - b.cost_total / b.solves);
      return { name: method, colour: colour(method), points: own.map(r => [r.cost_total / r.solves / 1000, r.correct_total / r.solves, settings(r.params)]) };
    });
    return el("div", {}, el("h3", {}, short(store)), lines(series, { label: `Accuracy against cost: ${short(store)}`, axis: "thousand tokens per question", format: v => percent(v, 0), marks: true,
      hint: (s, p) => `${s.name}${p[2] ? ", " + p[2] : ""}: ${percent(p[1], 2)} for ${fixed(p[0], 1)} thousand tokens` }));
  });
  section("evaluations", "Controllers on recorded traces", `How often each controller is right, and what it spends, over ${rows[0].per_seed.length} shuffles of the recorded branches. Up and to the left is better.`,
    el("div", { class: "grid" }, panels),
    table(["store", "method", "settings", "right", "right as values", "thousand tokens per question"], rows.map(r => ({ cells: [short(r.store), r.method, settings(r.params), percent(r.correct_total / r.solves, 2),
      isNumber(r.normalised_correct) ? percent(r.normalised_correct / r.solves, 2) : "–", fixed(r.cost_total / r.solves / 1000, 1)] }))),
    el("p", { class: "foot" }, "Right: equal to the gold answer byte for byte. As values: blanks, $, \\boxed, leading zeros and such do not count. Tokens are those recorded, of all branches together."));
}

function costSection() {
  const roles = Object.entries(report.cost || {}), total = roles.reduce((t, [, usd]) => t + usd, 0), stages = (report.stages || []).filter(s => isNumber(s.seconds));
  if (!roles.length && !stages.length && !resumed) return;
  const grid = [];
  if (roles.length) grid.push(el("div", {}, el("h3", {}, "Money by role"), total > 0 ? bars(roles.map(([role, usd], i) => ({ label: role, parts: [{ value: usd, colour: kPalette[i % kPalette.length] }] })), { label: "Cost by role", format: dollars })
    : el("p", { class: "none" }, "Nothing was paid: every model ran on this machine, or every answer came from the store.")));
  if (stages.length) grid.push(el("div", {}, el("h3", {}, "Time by stage"), bars(stages.map(s => ({ label: s.name, parts: [{ value: s.seconds, colour: "var(--core)" }] })), { label: "Time by stage", format: duration })));
  const unknown = report.unknown_calls || [], possible = unknown.reduce((t, call) => t + (call.possible_usd || 0), 0);
  const doubt = unknown.length ? ` ${whole(unknown.length)} call${unknown.length > 1 ? "s were" : " was"} sent and never answered (${[...new Set(unknown.map(call => call.role))].join(", ")}): killed, cancelled or cut off. Billed or not, they cost ${possible > 0 ? "at most " + dollars(possible) : "nothing"}.` : "";
  const again = resumed ? ` This run was resumed ${times(resumed.times)}; the store answered ${whole(resumed.answered)} call${resumed.answered === 1 ? "" : "s"} of its last process, which cost nothing. Times and costs are those of all its processes; of one that ended within a stage, its last seconds, five at most, are not counted.` : "";
  section("cost", "Cost and time", (total > 0 ? `${dollars(total)} in all.` : "") + doubt + again, el("div", { class: "grid" }, grid));
}
