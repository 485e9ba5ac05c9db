"use strict";
// The command's button: file pages may have no clipboard, so that a selection is the way out.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch (error) {
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  });
}
// Under the pointer, the legend reads the values of the nearest points.
for (const plot of document.querySelectorAll("[data-points]")) {
  const data = JSON.parse(plot.dataset.points);
  const area = plot.querySelector(".area");
  const cursor = plot.querySelector(".cursor");
  const at = plot.querySelector("[data-at]");
  const outputs = [...plot.querySelectorAll("output")];
  const show = (value) => data.percent ? `${(100 * value).toFixed(2)} %` : String(value);
  area.addEventListener("pointermove", (event) => {
    const box = area.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    let nearest = null;
    data.series.forEach((series, number) => {
      let best = -1;
      series.px.forEach((x, index) => {
        if (best < 0 || Math.abs(x - share) < Math.abs(series.px[best] - share)) best = index;
      });
      if (best < 0) return;
      outputs[number].textContent = show(series.y[best]);
      const gap = Math.abs(series.px[best] - share);
      if (nearest === null || gap < nearest.gap) {
        nearest = { gap, x: series.px[best], text: Math.round(series.x[best] * 1e4) / 1e4 };
      }
    });
    if (nearest === null) return;
    cursor.style.left = `${100 * nearest.x}%`;
    cursor.style.display = "block";
    at.textContent = `${data.x_label} ${nearest.text.toLocaleString("en")}`;
  });
  area.addEventListener("pointerleave", () => {
    cursor.style.display = "none";
    at.textContent = "";
    for (const output of outputs) output.textContent = "";
  });
}
