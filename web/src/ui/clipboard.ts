// The clipboard, also where the browser keeps its newer interface from us.

export async function copy(text: string) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without the clipboard's right (plain http from another machine) the old way still works.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
