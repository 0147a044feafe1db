(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Pictures: plotly takes the place of a drawing when it comes near the window.

  let library;
  const plotly = () => (library ??= load());

  async function load() {
    const held = document.getElementById("plotly");
    if (held) {
      const script = document.createElement("script");
      script.textContent = await unpacked(held); // it runs because the page's policy knows its hash
      document.head.append(script);
    }
    return window.Plotly;
  }

  async function unpacked(held) {
    if (held.type !== "application/gzip") return held.textContent;
    const bytes = Uint8Array.from(atob(held.textContent), (char) => char.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function themed(layout) {
    const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--soft") };
    const named = (own) => ({ ...own, ...axis, title: { ...own.title, font: { size: 12 } } });
    return {
      ...layout,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("--ink") },
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--soft"), font: { color: colour("--ink") } },
      colorway: [0, 1, 2, 3, 4, 5, 6, 7, 8].map((i) => colour(`--c${i}`)),
      xaxis: named(layout.xaxis), yaxis: named(layout.yaxis),
    };
  }

  const stay = (error) => console.info(`The drawn pictures stay: ${error}`);

  async function pictures() {
    const held = document.getElementById("figures");
    if (!held) return;
    const figures = JSON.parse(await unpacked(held)), drawn = new Map();
    const config = { displaylogo: false, displayModeBar: false, responsive: true };
    async function draw(figure) {
      const Plotly = await plotly();
      if (!Plotly || drawn.has(figure)) return;
      const svg = figure.querySelector(".pic svg"), plot = document.createElement("div");
      plot.className = "plot";
      plot.setAttribute("role", "img");
      plot.setAttribute("aria-label", svg.getAttribute("aria-label"));
      const height = Math.max(190, svg.getBoundingClientRect().height + 10);
      figure.querySelector(".pic").after(plot);
      drawn.set(figure, plot);
      figure.classList.add("drawn");
      const { data, layout } = figures[figure.id];
      await Plotly.newPlot(plot, data, { ...themed(layout), height }, config);
    }
    const watcher = new IntersectionObserver((seen) => {
      for (const { isIntersecting, target } of seen) {
        if (!isIntersecting) continue;
        watcher.unobserve(target);
        draw(target).catch(stay);
      }
    }, { rootMargin: "400px" });
    all("figure.fig").filter((figure) => figures[figure.id]).forEach((figure) => watcher.observe(figure));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      for (const [figure, plot] of drawn) {
        const { data, layout } = figures[figure.id];
        window.Plotly.react(plot, data, { ...themed(layout), height: plot.clientHeight }, config);
      }
    });
  }

  pictures().catch(stay);
})();
