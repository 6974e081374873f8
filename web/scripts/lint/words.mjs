// A rule of the linter: what people read stands in src/strings, and nowhere else. It knows words by their look (a capital letter
// followed by a small one, or two words beside each other) and by their place (text of an element, attributes that are read out).

/** Attributes whose text people see or hear. */
const SEEN = new Set(["aria-label", "aria-description", "alt", "title", "placeholder", "label", "hint"]);
/** Attributes that look like words and are none. */
const UNSEEN = new Set(["className", "style", "d", "viewBox", "fill", "stroke", "href", "src", "id", "role", "type", "aria-keyshortcuts", "text", "command"]);

const LETTERS = /\p{L}{2}/u;
const WORDS = /(^|[^\p{L}\p{N}_$.-])(\p{Lu}\p{Ll}+)(?![\p{L}\p{N}_([=])|\p{Ll}{2,},? \p{Ll}{2,}/u;

/** Orders of lists as the API writes them, and pictures. */
const NO_WORDS = /^[a-z_.]+ (asc|desc)$|^<(svg|circle)/;

function textOf(node) {
  return node.type === "TemplateElement" ? node.value.cooked : node.value;
}

/** Whether a place in the program holds no words for people, whatever stands there. */
function isElsewhere(node) {
  for (let child = node, parent = node.parent; parent; child = parent, parent = parent.parent) {
    switch (parent.type) {
      case "ImportDeclaration":
      case "ImportExpression":
      case "ExportAllDeclaration":
      case "ExportNamedDeclaration":
        return parent.type === "ExportNamedDeclaration" ? parent.source === child : true;
      case "TSLiteralType":
      case "TSEnumMember":
        return true;
      case "SwitchCase":
        return parent.test === child;
      case "BinaryExpression":
        if (["===", "!==", "in"].includes(parent.operator)) return true;
        break;
      case "MemberExpression":
        if (parent.property === child) return true;
        break;
      case "Property":
        // Keys, and values of what is copied to a terminal or a program.
        if (parent.key === child) return true;
        if (["className", "text", "key", "operation", "width", "sort", "id"].includes(parent.key.name ?? parent.key.value)) return true;
        break;
      case "JSXAttribute":
        return UNSEEN.has(parent.name.name);
      case "NewExpression":
      case "CallExpression": {
        const callee = parent.callee;
        const name = callee.type === "MemberExpression" ? callee.property.name : callee.name;
        // Errors that only a programmer sees, selectors, patterns, words for the machine.
        if (["Error", "RegExp", "Set", "includes", "startsWith", "endsWith", "querySelector", "querySelectorAll", "closest", "matches", "matchMedia", "useMedia", "setAttribute", "getAttribute", "getPropertyValue", "invalidateQueries"].includes(name) && parent.callee !== child) return true;
        break;
      }
    }
  }
  return false;
}

/** Whether it is shown as it stands: a child of an element, or an attribute that is read out. */
function isShown(node) {
  let child = node;
  let parent = node.parent;
  while (["ConditionalExpression", "LogicalExpression", "TemplateLiteral"].includes(parent?.type)) {
    if (parent.type === "ConditionalExpression" && parent.test === child) return false;
    child = parent;
    parent = parent.parent;
  }
  if (parent?.type === "JSXExpressionContainer") {
    child = parent;
    parent = parent.parent;
    if (parent.type === "JSXElement" || parent.type === "JSXFragment") return true;
  }
  return parent?.type === "JSXAttribute" && SEEN.has(parent.name.name);
}

export default {
  rules: {
    "words-in-catalogue": {
      meta: { type: "problem", messages: { word: "“{{text}}” is for people to read: put it into src/strings/en.tsx and take it from `t`" }, schema: [] },
      create(context) {
        const report = (node, text) => context.report({ node, messageId: "word", data: { text: text.trim().slice(0, 60) } });
        const check = (node) => {
          const text = textOf(node);
          if (typeof text !== "string" || !LETTERS.test(text)) return;
          if (NO_WORDS.test(text) || isElsewhere(node)) return;
          if (isShown(node) || WORDS.test(text)) report(node, text);
        };
        return {
          JSXText: (node) => LETTERS.test(node.value) && node.parent.openingElement?.name?.name !== "code" && report(node, node.value),
          Literal: check,
          TemplateElement: check,
        };
      },
    },
  },
};
