// Drawings of numbers. Each is an image with a sentence for those who do not see it; the numbers
// themselves stand in tables beside it.

import { h, replace, s } from "./dom.js";

const LEFT = 44;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 26;

/** A place whose drawing is made anew whenever its width changes, so that letters keep their size. */
export function drawing(height, label, draw) {
  const svg = s("svg", { class: "chart", role: "img", "aria-label": label, height });
  const place = h("div", {}, svg);
  new ResizeObserver(() => {
    const width = Math.floor(place.clientWidth);
    if (width < 60) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    replace(svg, draw(width, height));
  }).observe(place);
  return place;
}

/**
 * Lines over a plane. `series` are lists of [x, y] with a class; x and y ranges are [from, to];
 * `marks` say at which values the axes are labelled, and `say` how.
 */
export function lines({ height = 220, label, series, x, y, marks, say }) {
  return drawing(height, label, (width) => {
    const plane = planeOf(width, height, x, y);
    return [axes(plane, marks, say), series.map((line) => s("path", { class: line.kind, d: path(line.points, plane) })),
      series.flatMap((line) => (line.dots ? line.points.map((point) => s("circle", { class: "dot", cx: plane.x(point[0]), cy: plane.y(point[1]), r: 3.5 })) : []))];
  });
}

/** Values with intervals, one above another's place on the axis: `rows` of {at, low, high}. */
export function intervals({ height = 220, label, rows, y, marks, say, line }) {
  return drawing(height, label, (width) => {
    const plane = planeOf(width, height, [-0.5, rows.length - 0.5], y);
    const one = (row, index) => {
      const x = plane.x(index);
      return [s("line", { class: "first-line", x1: x, x2: x, y1: plane.y(row.low), y2: plane.y(row.high) }),
        s("circle", { class: "dot", cx: x, cy: plane.y(row.at), r: 5 })];
    };
    const under = line === undefined ? [] : [s("path", { class: "plain-line", d: path([[-0.5, line], [rows.length - 0.5, line]], plane) })];
    return [axes(plane, marks, say), under, rows.map(one)];
  });
}

/** A small line without axes, with the ground below it filled. */
export function sparkline(values, length) {
  const width = 120;
  const height = 32;
  const most = Math.max(...values, 1e-9);
  const x = (index) => ((index + length - values.length) / Math.max(1, length - 1)) * width;
  const points = values.map((value, index) => `${x(index).toFixed(1)} ${(height - 1.5 - (value / most) * (height - 4)).toFixed(1)}`);
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  if (values.length < 2) return svg;
  svg.append(s("path", { class: "area", d: `M${x(0).toFixed(1)} ${height} L${points.join(" L")} L${width} ${height} Z` }),
    s("path", { class: "first-line", "vector-effect": "non-scaling-stroke", d: `M${points.join(" L")}` }));
  return svg;
}

/** A bar whose length is a share. */
export function bar(share, kind = "") {
  const percent = Math.max(0, Math.min(1, share)) * 100;
  return s("svg", { class: `bar ${kind}`, viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "bar-ground", width: 100, height: 8 }), s("rect", { class: "bar-full", width: percent.toFixed(2), height: 8 }));
}

function planeOf(width, height, [fromX, toX], [fromY, toY]) {
  return {
    width,
    height,
    x: (value) => LEFT + ((value - fromX) / (toX - fromX || 1)) * (width - LEFT - RIGHT),
    y: (value) => height - BOTTOM - ((value - fromY) / (toY - fromY || 1)) * (height - TOP - BOTTOM),
  };
}

function axes(plane, marks, say) {
  const across = marks.y.map((value) => [
    s("line", { class: "grid", x1: LEFT, x2: plane.width - RIGHT, y1: plane.y(value), y2: plane.y(value) }),
    s("text", { x: LEFT - 8, y: plane.y(value) + 4, "text-anchor": "end" }, say.y(value))]);
  const along = marks.x.map((value) => s("text", { x: plane.x(value), y: plane.height - 6, "text-anchor": "middle" }, say.x(value)));
  return [across, along];
}

function path(points, plane) {
  return points.map(([x, y], index) => `${index === 0 ? "M" : "L"}${plane.x(x).toFixed(1)} ${plane.y(y).toFixed(1)}`).join(" ");
}
