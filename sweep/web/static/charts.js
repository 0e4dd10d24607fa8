// Figures: what Plotly draws of a `keep` value on an element with the class `plot`.
//
// Plotly is three megabytes, so it is loaded with the first figure. Its texts know some markup, so
// whatever comes from data is escaped first.

export const CATEGORIES = [
  "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31",
]; // prettier-ignore
export const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const BETTER_BLUE = "#1f6fb4";
const WORSE_ORANGE = "#c9560c";
const GREY = "rgba(128,128,128,0.25)";
const FONT =
  "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";

/** Stands for the colour of the text around the figure. */
export const INK = "the colour of text";

/** Worse to better around a neutral middle. */
export const DIVERGING = [
  [0, WORSE_ORANGE],
  [0.25, "#eda869"],
  [0.5, "#f4f3f0"],
  [0.75, "#8dbbe0"],
  [1, BETTER_BLUE],
];
/** Nothing to everything. */
export const FILLING = [
  [0, "#eef0f3"],
  [1, BETTER_BLUE],
];

let plotly = null;

function load() {
  plotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/static/plotly.min.js";
    script.onload = () => resolve(globalThis.Plotly);
    script.onerror = () => {
      plotly = null; // tried again with the next update
      script.remove();
      reject(new Error("the plotting library could not be loaded"));
    };
    document.head.append(script);
  });
  return plotly;
}

/** Text from data, as Plotly writes it literally. */
export function literal(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** The layout all figures share, with more of their own. */
export function layout(more) {
  return {
    margin: { l: 56, r: 14, t: 10, b: 44 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    template: "none",
    hoverlabel: { font: { family: FONT } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    ...more,
  };
}

/** An axis in the shared look. */
export function axis(title, more = {}) {
  return {
    title: { text: title, standoff: 8 },
    gridcolor: GREY,
    zeroline: false,
    automargin: true,
    ...more,
  };
}

/**
 * Draws or brings up to date every figure below `root`.
 *
 * A figure is an opaque element of class `plot` that keeps
 * `{data, layout, onPoint?: (point) => void}`.
 */
export async function drawFigures(root) {
  const places = [...root.querySelectorAll(".plot")];
  if (places.length === 0) return;
  const Plotly = await load();
  for (const place of places) {
    if (!place.isConnected || !place.keep) continue;
    const ink = getComputedStyle(place).color;
    const { data, layout: wanted, onPoint } = place.keep;
    const signature = JSON.stringify([data, wanted, ink]);
    place.onPoint = onPoint;
    if (place.drawn === signature) continue;
    const first = place.drawn === undefined;
    place.drawn = signature;
    const look = { ...wanted, font: { family: FONT, size: 12, color: ink } };
    const [traces, drawn] = inked([data, look], ink);
    await Plotly.react(place, traces, drawn, {
      responsive: true,
      displaylogo: false,
      displayModeBar: false,
      doubleClick: false,
      scrollZoom: false,
    });
    if (first) place.on("plotly_click", (event) => place.onPoint?.(event.points[0]));
  }
}

function inked(value, ink) {
  return JSON.parse(JSON.stringify(value).replaceAll(`"${INK}"`, JSON.stringify(ink)));
}

/** Lets go of the figures below `root` before it is emptied. */
export function dropFigures(root) {
  for (const place of root.querySelectorAll(".plot")) {
    if (place.drawn !== undefined) globalThis.Plotly?.purge(place);
  }
}
